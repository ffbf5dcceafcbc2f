package server

import (
	"context"
	"io"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
)

// stream is that of a call.
type stream struct {
	call *call
	// A call with one request has it here, until it was read.
	one  bool
	read bool
	err  error
}

func (s *stream) Context() context.Context { return s.call }
func (s *stream) Request() Request         { return s.call }
func (s *stream) Error() error             { return s.err }
func (s *stream) Close() error             { return nil }

// gone is why nobody waits any more.
func (s *stream) gone() error {
	err := s.call.Err()
	if err == nil {
		err = context.Canceled
	}
	code := errors.CodeCanceled
	if err == context.DeadlineExceeded {
		code = errors.CodeDeadlineExceeded
	}
	return errors.Newf(code, "micro", "the caller no longer waits for %s", s.call.endpoint.name)
}

func (s *stream) Send(msg any) error {
	if s.call.endpoint.shape == native.ClientStream {
		return errors.Newf(errors.CodeInternal, "micro", "%s has one reply: return it", s.call.endpoint.name)
	}
	payload, err := codec.Encode(msg, s.call.codec(), s.call.sent, true)
	if err == nil {
		if failure := s.call.native.Stream().Send(payload); failure != nil {
			if failure.Status == native.Stale {
				// The library knows before it has told; the context should know, too.
				<-s.call.native.Stream().Over()
				err = s.gone()
			} else {
				err = errors.FromNative(failure, nil)
			}
		}
	}
	if err != nil {
		s.err = err
	}
	return err
}

func (s *stream) Recv(msg any) error {
	what := s.call.asked
	if s.one {
		if s.read {
			return io.EOF
		}
		s.read = true
		return codec.Decode(s.call.native.Payload, s.call.codec(), msg, what, errors.CodeInvalidArgument)
	}
	message, ok := s.call.native.Stream().Next()
	if !ok {
		failure := s.call.native.Stream().Broken()
		switch {
		case failure == nil:
			return io.EOF
		case s.call.Err() != nil:
			s.err = s.gone()
		default:
			s.err = errors.FromNative(failure, nil)
		}
		return s.err
	}
	err := codec.Decode(message.Payload, uint32(message.Flags)&native.CodecMask, msg, what, errors.CodeInvalidArgument)
	if err != nil {
		s.err = err
	}
	return err
}
