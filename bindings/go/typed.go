package micro

import (
	"context"
	"io"
	"iter"
	"reflect"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/server"
)

// Call makes a unary call and returns the reply, read as an Out: a pointer to a protobuf message, []byte, or whatever encoding/json
// reads. Failures are *errors.Error.
func Call[Out any](ctx context.Context, c client.Client, service, endpoint string, request any, opts ...client.CallOption) (Out, error) {
	var reply Out
	err := c.Call(ctx, c.NewRequest(service, endpoint, request), &reply, opts...)
	return reply, err
}

// Stream is messages of In on their way in, and of Out on their way out, with types. One goroutine may send while another receives.
type Stream[In, Out any] struct {
	send    func(any) error
	receive func(any) error
	client  client.Stream
	context context.Context
}

// Context is that of the stream.
func (s *Stream[In, Out]) Context() context.Context { return s.context }

// Send sends a message; it waits while the far side is slow.
func (s *Stream[In, Out]) Send(message Out) error { return s.send(message) }

// Recv is the next message; io.EOF after the last.
func (s *Stream[In, Out]) Recv() (message In, err error) {
	err = s.receive(&message)
	return message, err
}

// All is the messages, until the last or an error. Breaking out of it closes a stream that this side opened.
func (s *Stream[In, Out]) All() iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		for {
			message, err := s.Recv()
			if err == io.EOF {
				return
			}
			if !yield(message, err) || err != nil {
				_ = s.Close()
				return
			}
		}
	}
}

// CloseSend says that this side, which opened the stream, sends no more; the far side may still answer.
func (s *Stream[In, Out]) CloseSend() error {
	if s.client == nil {
		return nil
	}
	return s.client.CloseSend()
}

// CloseAndRecv says that this side sends no more, and returns the one reply of a stream of requests.
func (s *Stream[In, Out]) CloseAndRecv() (reply In, err error) {
	if err = s.CloseSend(); err != nil {
		return reply, err
	}
	return s.Reply()
}

// Reply waits for the one reply of a stream of requests, and for its end.
func (s *Stream[In, Out]) Reply() (reply In, err error) {
	reply, err = s.Recv()
	if err == io.EOF {
		return reply, errors.Newf(errors.CodeInternal, "micro", "the stream ended without a reply")
	}
	if err != nil {
		return reply, err
	}
	if _, err = s.Recv(); err == io.EOF {
		err = nil
	}
	return reply, err
}

// Header waits for the headers of the answer, of a stream that this side opened.
func (s *Stream[In, Out]) Header() (metadata.MD, error) {
	if s.client == nil {
		return nil, nil
	}
	return s.client.Header()
}

// Trailer is that of the answer; empty before the end.
func (s *Stream[In, Out]) Trailer() metadata.MD {
	if s.client == nil {
		return nil
	}
	return s.client.Trailer()
}

// Close cancels a stream that this side opened, unless it is over; harmless when repeated.
func (s *Stream[In, Out]) Close() error {
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

// ServerStream sends one request and receives many replies. It ends with its context, or by Close.
func ServerStream[Out any](ctx context.Context, c client.Client, service, endpoint string, request any, opts ...client.CallOption) (*Stream[Out, struct{}], error) {
	opened, err := c.Stream(ctx, c.NewRequest(service, endpoint, request, client.StreamingRequest()), with(opts, native.ServerStream)...)
	return opens[Out, struct{}](ctx, opened, err)
}

// ClientStream sends many requests and receives one reply: CloseAndRecv.
func ClientStream[In, Out any](ctx context.Context, c client.Client, service, endpoint string, opts ...client.CallOption) (*Stream[Out, In], error) {
	opened, err := c.Stream(ctx, typed[In](c, service, endpoint), with(opts, native.ClientStream)...)
	return opens[Out, In](ctx, opened, err)
}

// BidiStream sends and receives many messages, in any order.
func BidiStream[In, Out any](ctx context.Context, c client.Client, service, endpoint string, opts ...client.CallOption) (*Stream[Out, In], error) {
	opened, err := c.Stream(ctx, typed[In](c, service, endpoint), with(opts, native.BidiStream)...)
	return opens[Out, In](ctx, opened, err)
}

func with(opts []client.CallOption, shape uint32) []client.CallOption {
	return append(opts[:len(opts):len(opts)], client.WithShape(shape))
}

// typed is a request whose codec follows from the type of the messages to come.
func typed[In any](c client.Client, service, endpoint string) client.Request {
	if c.Options().ContentType != "" {
		return c.NewRequest(service, endpoint, nil, client.StreamingRequest())
	}
	var zero In
	return client.NewTyped(service, endpoint, nil, codec.Natural(any(zero)))
}

func opens[In, Out any](ctx context.Context, opened client.Stream, err error) (*Stream[In, Out], error) {
	if err != nil {
		return nil, err
	}
	return &Stream[In, Out]{send: opened.Send, receive: opened.Recv, client: opened, context: ctx}, nil
}

// Handle adds an endpoint with one request and one reply, named "Type.Method". In and Out are pointers to protobuf messages, []byte,
// or whatever encoding/json takes.
func Handle[In, Out any](s Service, name string, handler func(context.Context, In) (Out, error), opts ...server.HandlerOption) error {
	return s.Server().Handle(server.Of(server.Endpoint{
		Name:  name,
		Shape: native.Unary,
		Messages: func() (any, any) {
			both := new(struct {
				in  In
				out Out
			})
			return &both.in, &both.out
		},
		Handle: func(ctx context.Context, req server.Request, rsp any) (err error) {
			*rsp.(*Out), err = handler(ctx, *req.Body().(*In))
			return err
		},
		In:  reflect.TypeFor[In](),
		Out: reflect.TypeFor[Out](),
	}, opts...))
}

// HandleServerStream adds an endpoint with one request and many replies.
func HandleServerStream[In, Out any](s Service, name string, handler func(context.Context, In, *Stream[struct{}, Out]) error, opts ...server.HandlerOption) error {
	return s.Server().Handle(server.Of(server.Endpoint{
		Name:     name,
		Shape:    native.ServerStream,
		Messages: func() (any, any) { return new(In), nil },
		Handle: func(ctx context.Context, req server.Request, rsp any) error {
			return handler(ctx, *req.Body().(*In), served[struct{}, Out](rsp.(server.Stream)))
		},
		In:  reflect.TypeFor[In](),
		Out: reflect.TypeFor[Out](),
	}, opts...))
}

// HandleClientStream adds an endpoint with many requests and one reply.
func HandleClientStream[In, Out any](s Service, name string, handler func(context.Context, *Stream[In, struct{}]) (Out, error), opts ...server.HandlerOption) error {
	return s.Server().Handle(server.Of(server.Endpoint{
		Name:     name,
		Shape:    native.ClientStream,
		Messages: func() (any, any) { return nil, new(Out) },
		Handle: func(ctx context.Context, _ server.Request, rsp any) (err error) {
			replied, ok := rsp.(interface{ ReplyTo() any })
			if !ok {
				return errors.Newf(errors.CodeInternal, "micro", "a wrapper gave %s another stream: give one that embeds the one it had", name)
			}
			*replied.ReplyTo().(*Out), err = handler(ctx, served[In, struct{}](rsp.(server.Stream)))
			return err
		},
		In:  reflect.TypeFor[In](),
		Out: reflect.TypeFor[Out](),
	}, opts...))
}

// HandleBidiStream adds an endpoint with many messages each way.
func HandleBidiStream[In, Out any](s Service, name string, handler func(context.Context, *Stream[In, Out]) error, opts ...server.HandlerOption) error {
	return s.Server().Handle(server.Of(server.Endpoint{
		Name:  name,
		Shape: native.BidiStream,
		Handle: func(ctx context.Context, _ server.Request, rsp any) error {
			return handler(ctx, served[In, Out](rsp.(server.Stream)))
		},
		In:  reflect.TypeFor[In](),
		Out: reflect.TypeFor[Out](),
	}, opts...))
}

func served[In, Out any](stream server.Stream) *Stream[In, Out] {
	return &Stream[In, Out]{send: stream.Send, receive: stream.Recv, context: stream.Context()}
}

// RegisterHandler adds each method of a value that fits as the endpoint "Type.Method", as go-micro does.
func RegisterHandler(s server.Server, value any, opts ...server.HandlerOption) error {
	return s.Handle(s.NewHandler(value, opts...))
}
