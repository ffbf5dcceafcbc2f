package client

import (
	"context"
	"io"
	"sync"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
)

type stream struct {
	ctx     context.Context
	request Request
	native  *native.Stream
	codec   uint32
	// Has the context end it no more.
	unfollow func() bool
	header   *metadata.MD
	trailer  *metadata.MD
	once     sync.Once
}

func (r *rpc) Stream(ctx context.Context, req Request, opts ...CallOption) (Stream, error) {
	r.lock.RLock()
	terms := r.opts.CallOptions
	r.lock.RUnlock()
	terms.shape = native.BidiStream
	if len(opts) > 0 {
		terms.document = terms.document.Copy()
		for _, opt := range opts {
			opt(&terms)
		}
	}
	request, err := r.request(ctx, req, &terms, terms.shape)
	if err != nil {
		return nil, err
	}
	client, err := r.open()
	if err != nil {
		return nil, err
	}
	opened, failure := client.Open(&request)
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	made := &stream{
		ctx:     ctx,
		request: req,
		native:  opened,
		codec:   request.Flags & native.CodecMask,
		header:  terms.header,
		trailer: terms.trailer,
	}
	made.unfollow = context.AfterFunc(ctx, opened.Cancel)
	return made, nil
}

func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) Request() Request         { return s.request }
func (s *stream) Response() Response       { return response{s} }

type response struct{ stream *stream }

func (r response) Header() map[string]string {
	md, err := r.stream.Header()
	if err != nil {
		return nil
	}
	flat := map[string]string{}
	for name := range md {
		flat[name] = md.Get(name)
	}
	return flat
}

func (s *stream) Send(msg any) error {
	payload, err := codec.Encode(msg, s.codec, "a request", false)
	if err != nil {
		return err
	}
	if failure := s.native.Send(payload); failure != nil {
		if err := s.Error(); err != nil {
			return err
		}
		if failure == native.ErrStale {
			return io.EOF
		}
		return errors.FromNative(failure, nil)
	}
	return nil
}

func (s *stream) Recv(msg any) error {
	message, ok := s.native.Next()
	if !ok {
		s.ended()
		if err := s.Error(); err != nil {
			return err
		}
		return io.EOF
	}
	return codec.Decode(message.Payload, uint32(message.Flags)&native.CodecMask, msg, "the reply", errors.CodeInternal)
}

// ended lets the context go, and fills what was asked for.
func (s *stream) ended() {
	s.once.Do(func() {
		s.unfollow()
		meta, _, _ := s.native.End()
		headers, trailers := native.ReadMeta(meta)
		put(s.header, headers)
		put(s.trailer, trailers)
	})
}

func (s *stream) Error() error {
	meta, err, over := s.native.End()
	if !over || err == nil {
		return nil
	}
	if s.ctx.Err() == context.DeadlineExceeded && err.Status == native.Cancelled {
		late := *err
		late.Status, late.HTTP = native.Deadline, 0
		err = &late
	}
	return errors.FromNative(err, meta)
}

func (s *stream) CloseSend() error {
	s.native.CloseSend()
	return nil
}

func (s *stream) Close() error {
	s.unfollow()
	s.native.Cancel()
	return nil
}

func (s *stream) Header() (metadata.MD, error) {
	block, err := s.native.Opened(s.ctx)
	if err != nil {
		return nil, over(err)
	}
	if block == nil {
		meta, failure, _ := s.native.End()
		if failure != nil && len(meta) == 0 {
			return nil, errors.FromNative(failure, nil)
		}
		block = meta
	}
	headers, _ := native.ReadMeta(block)
	return metadata.FromEntries(headers), nil
}

func (s *stream) Trailer() metadata.MD {
	meta, _, _ := s.native.End()
	_, trailers := native.ReadMeta(meta)
	return metadata.FromEntries(trailers)
}
