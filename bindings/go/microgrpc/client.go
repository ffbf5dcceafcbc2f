package microgrpc

import (
	"context"
	"io"
	"sync"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// ClientConn calls a service by its name: what generated clients are made with.
type ClientConn struct {
	client  client.Client
	service string
	opts    []client.CallOption
	unary   grpc.UnaryClientInterceptor
	stream  grpc.StreamClientInterceptor
}

var _ grpc.ClientConnInterface = (*ClientConn)(nil)

// NewClientConn is for calls to a service, with the terms of each. It is not closed: the client is.
func NewClientConn(c client.Client, service string, opts ...client.CallOption) *ClientConn {
	return &ClientConn{client: c, service: service, opts: opts}
}

// Intercepted is the same with interceptors of grpc-go around its calls; either may be nil. They get no *grpc.ClientConn.
func (c *ClientConn) Intercepted(unary grpc.UnaryClientInterceptor, stream grpc.StreamClientInterceptor) *ClientConn {
	made := *c
	made.unary, made.stream = unary, stream
	return &made
}

// terms are options of grpc-go.
type terms struct {
	opts    []client.CallOption
	request []client.RequestOption
	headers []*grpcmetadata.MD
	tails   []*grpcmetadata.MD
	finish  []func(error)
	most    int
	mostOut int
}

func (c *ClientConn) terms(ctx context.Context, opts []grpc.CallOption) (made terms, _ error) {
	made.opts = append(made.opts, c.opts...)
	made.most, made.mostOut = -1, -1
	md := metadata.MD{}
	if sent, ok := grpcmetadata.FromOutgoingContext(ctx); ok {
		for name, values := range sent {
			md[name] = values
		}
	}
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			made.headers = append(made.headers, opt.HeaderAddr)
		case grpc.TrailerCallOption:
			made.tails = append(made.tails, opt.TrailerAddr)
		case grpc.FailFastCallOption:
			made.opts = append(made.opts, client.WithWaitForReady(!opt.FailFast))
		case grpc.CompressorCallOption:
			name := opt.CompressorType
			if name == "identity" || name == "" {
				name = "none"
			}
			made.opts = append(made.opts, client.WithCompression(name))
		case grpc.ContentSubtypeCallOption:
			made.request = append(made.request, client.WithContentType("application/grpc+"+opt.ContentSubtype))
		case grpc.MaxRecvMsgSizeCallOption:
			made.most = opt.MaxRecvMsgSize
		case grpc.MaxSendMsgSizeCallOption:
			made.mostOut = opt.MaxSendMsgSize
		case grpc.OnFinishCallOption:
			made.finish = append(made.finish, opt.OnFinish)
		case grpc.PerRPCCredsCallOption:
			given, err := opt.Creds.GetRequestMetadata(ctx, c.service)
			if err != nil {
				return made, status.Error(codes.Unauthenticated, err.Error())
			}
			for name, value := range given {
				md.Append(name, value)
			}
		case grpc.EmptyCallOption, grpc.StaticMethodCallOption:
		default:
			return made, status.Errorf(codes.Unimplemented, "calls under micro take no %T: leave it out", opt)
		}
	}
	if len(md) > 0 {
		made.opts = append(made.opts, client.WithMetadata(md))
	}
	return made, nil
}

func (t *terms) ended(headers, trailers metadata.MD, err error) {
	for _, into := range t.headers {
		*into = grpcmetadata.MD(headers)
	}
	for _, into := range t.tails {
		*into = grpcmetadata.MD(trailers)
	}
	for _, finish := range t.finish {
		finish(err)
	}
}

func tooLarge(what string, message any, most int) error {
	sized, ok := message.(proto.Message)
	if !ok || most < 0 || proto.Size(sized) <= most {
		return nil
	}
	return status.Errorf(codes.ResourceExhausted, "%s has %d bytes, and the call allows %d", what, proto.Size(sized), most)
}

// Invoke makes a unary call.
func (c *ClientConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if c.unary == nil {
		return c.invoke(ctx, method, args, reply, nil, opts...)
	}
	return c.unary(ctx, method, args, reply, nil, c.invoke, opts...)
}

func (c *ClientConn) invoke(ctx context.Context, method string, args, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
	if len(opts) == 0 && len(c.opts) == 0 {
		if _, ok := grpcmetadata.FromOutgoingContext(ctx); !ok {
			return toStatus(c.client.Call(ctx, c.client.NewRequest(c.service, method, args), reply))
		}
	}
	terms, err := c.terms(ctx, opts)
	if err == nil {
		err = tooLarge("the request", args, terms.mostOut)
	}
	if err != nil {
		return err
	}
	var headers, trailers metadata.MD
	if len(terms.headers)+len(terms.tails) > 0 {
		terms.opts = append(terms.opts, client.WithHeader(&headers), client.WithTrailer(&trailers))
	}
	err = toStatus(c.client.Call(ctx, c.client.NewRequest(c.service, method, args, terms.request...), reply, terms.opts...))
	if err == nil {
		err = tooLarge("the reply", reply, terms.most)
	}
	terms.ended(headers, trailers, err)
	return err
}

// NewStream opens a stream.
func (c *ClientConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if c.stream == nil {
		return c.open(ctx, desc, nil, method, opts...)
	}
	return c.stream(ctx, desc, nil, method, c.open, opts...)
}

func (c *ClientConn) open(ctx context.Context, desc *grpc.StreamDesc, _ *grpc.ClientConn, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	terms, err := c.terms(ctx, opts)
	if err != nil {
		return nil, err
	}
	shape := uint32(native.BidiStream)
	if !desc.ServerStreams {
		shape = native.ClientStream
	}
	terms.opts = append(terms.opts, client.WithShape(shape))
	// Messages come later, and they are protobuf unless a subtype was asked for.
	terms.request = append(terms.request, client.StreamingRequest())
	request := c.client.NewRequest(c.service, method, []byte(nil), terms.request...)
	opened, err := c.client.Stream(ctx, request, terms.opts...)
	if err != nil {
		return nil, toStatus(err)
	}
	return &clientStream{stream: opened, terms: terms, desc: desc}, nil
}

type clientStream struct {
	stream client.Stream
	terms  terms
	desc   *grpc.StreamDesc
	once   sync.Once
}

func (s *clientStream) Context() context.Context { return s.stream.Context() }

func (s *clientStream) Header() (grpcmetadata.MD, error) {
	md, err := s.stream.Header()
	return grpcmetadata.MD(md), toStatus(err)
}

func (s *clientStream) Trailer() grpcmetadata.MD { return grpcmetadata.MD(s.stream.Trailer()) }

func (s *clientStream) CloseSend() error { return toStatus(s.stream.CloseSend()) }

// SendMsg says io.EOF where the stream is over: RecvMsg tells how it ended.
func (s *clientStream) SendMsg(message any) error {
	if err := tooLarge("a request", message, s.terms.mostOut); err != nil {
		return err
	}
	err := s.stream.Send(message)
	if err != nil && s.stream.Error() != nil {
		return io.EOF
	}
	return toStatus(err)
}

func (s *clientStream) RecvMsg(message any) error {
	err := toStatus(s.stream.Recv(message))
	if err == nil {
		err = tooLarge("a reply", message, s.terms.most)
	}
	if err == nil && !s.desc.ServerStreams {
		// The one reply: its trailers come with the end.
		if last := s.stream.Recv(nil); last != io.EOF {
			err = toStatus(last)
			if err == nil {
				err = status.Error(codes.Internal, "there are two replies, and should be one")
			}
		}
		s.ended(err)
		return err
	}
	if err == io.EOF && !s.desc.ServerStreams {
		err = status.Error(codes.Internal, "the stream ended without a reply")
	}
	if err != nil {
		s.ended(err)
	}
	return err
}

func (s *clientStream) ended(err error) {
	s.once.Do(func() {
		if err == io.EOF {
			err = nil
		}
		headers, _ := s.stream.Header()
		s.terms.ended(headers, s.stream.Trailer(), err)
	})
}
