package microgrpc

import (
	"context"
	"fmt"
	"net"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/server"
	"google.golang.org/grpc"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Server adds the services of generated code to a service of micro: what generated code registers with.
type Server struct {
	service micro.Service
	unary   grpc.UnaryServerInterceptor
	stream  grpc.StreamServerInterceptor
	known   map[string]grpc.ServiceInfo
}

var _ grpc.ServiceRegistrar = (*Server)(nil)

// NewServer is for the endpoints of a service, before it is started.
func NewServer(service micro.Service) *Server {
	return &Server{service: service, known: map[string]grpc.ServiceInfo{}}
}

// Intercepted is the same with interceptors of grpc-go around the handlers; either may be nil.
func (s *Server) Intercepted(unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) *Server {
	made := *s
	made.unary, made.stream = unary, stream
	return &made
}

// GetServiceInfo is what was registered.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo { return s.known }

// RegisterService adds every method of a generated service as the endpoint "package.Type.Method". It panics where that cannot be, as
// grpc-go ends the program: generated code takes no error.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	info := grpc.ServiceInfo{Metadata: desc.Metadata}
	for _, method := range desc.Methods {
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: method.MethodName})
		s.add(desc, method.MethodName, native.Unary, s.one(desc, method, impl))
	}
	for _, method := range desc.Streams {
		info.Methods = append(info.Methods, grpc.MethodInfo{
			Name: method.StreamName, IsClientStream: method.ClientStreams, IsServerStream: method.ServerStreams,
		})
		shape := uint32(native.BidiStream)
		switch {
		case !method.ClientStreams:
			shape = native.ServerStream
		case !method.ServerStreams:
			shape = native.ClientStream
		}
		s.add(desc, method.StreamName, shape, s.many(desc, method, impl))
	}
	s.known[desc.ServiceName] = info
}

func (s *Server) add(desc *grpc.ServiceDesc, name string, shape uint32, handle server.HandlerFunc) {
	made := server.Endpoint{Name: desc.ServiceName + "." + name, Shape: shape, Handle: handle}
	if shape == native.Unary || shape == native.ClientStream {
		made.Messages = func() (any, any) { return nil, new(any) }
	}
	if err := s.service.Server().Handle(server.Of(made, described(desc.ServiceName, name)...)); err != nil {
		panic(fmt.Sprintf("%s cannot be registered: %s", made.Name, err))
	}
}

// described has reflection know the messages, where the program has their descriptors.
func described(service, method string) []server.HandlerOption {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	of, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	known := of.Methods().ByName(protoreflect.Name(method))
	if known == nil {
		return nil
	}
	in, out := known.Input(), known.Output()
	return []server.HandlerOption{
		server.Descriptors(string(in.FullName()), string(out.FullName()), codec.Descriptors(in.ParentFile(), out.ParentFile())),
	}
}

func (s *Server) one(desc *grpc.ServiceDesc, method grpc.MethodDesc, impl any) server.HandlerFunc {
	path := "/" + desc.ServiceName + "/" + method.MethodName
	return func(ctx context.Context, req server.Request, rsp any) error {
		decode := func(into any) error {
			raw, err := req.Read()
			if err != nil {
				return err
			}
			kind, _ := codec.ByContentType(req.ContentType())
			return codec.Decode(raw, kind, into, "the request of "+req.Endpoint(), errors.CodeInvalidArgument)
		}
		reply, err := method.Handler(impl, within(ctx, path), decode, s.unary)
		if err == nil {
			*rsp.(*any) = reply
		}
		return err
	}
}

func (s *Server) many(desc *grpc.ServiceDesc, method grpc.StreamDesc, impl any) server.HandlerFunc {
	path := "/" + desc.ServiceName + "/" + method.StreamName
	info := &grpc.StreamServerInfo{FullMethod: path, IsClientStream: method.ClientStreams, IsServerStream: method.ServerStreams}
	return func(ctx context.Context, _ server.Request, rsp any) error {
		stream := &serverStream{stream: rsp.(server.Stream), ctx: within(ctx, path)}
		if !method.ServerStreams {
			if one, ok := rsp.(interface{ ReplyTo() any }); ok {
				stream.reply, _ = one.ReplyTo().(*any)
			}
		}
		if s.stream == nil {
			return method.Handler(impl, stream)
		}
		return s.stream(impl, stream, info, method.Handler)
	}
}

// within is a context as handlers of grpc-go know it: metadata, peer, and what sets headers and trailers.
func within(ctx context.Context, path string) context.Context {
	came, _ := metadata.FromIncoming(ctx)
	made := grpcmetadata.NewIncomingContext(ctx, grpcmetadata.MD(came))
	made = peer.NewContext(made, &peer.Peer{Addr: address{ctx}})
	return grpc.NewContextWithServerTransportStream(made, transport{ctx, path})
}

// address is asked of the core when it is looked at.
type address struct{ ctx context.Context }

func (address) Network() string { return "tcp" }

func (a address) String() string {
	info, _ := server.Describe(a.ctx)
	return info.Peer
}

var _ net.Addr = address{}

// transport is what grpc.SetHeader and its kin look for.
type transport struct {
	ctx  context.Context
	path string
}

func (t transport) Method() string { return t.path }

func (t transport) SetHeader(md grpcmetadata.MD) error {
	for name, values := range md {
		server.SetHeader(t.ctx, name, values...)
	}
	return nil
}

func (t transport) SendHeader(md grpcmetadata.MD) error {
	if err := t.SetHeader(md); err != nil {
		return err
	}
	// Those of one message leave with it.
	if err := server.SendHeader(t.ctx); err != nil && !errors.Is(err, errors.ErrArg) {
		return toStatus(err)
	}
	return nil
}

func (t transport) SetTrailer(md grpcmetadata.MD) error {
	for name, values := range md {
		server.SetTrailer(t.ctx, name, values...)
	}
	return nil
}

type serverStream struct {
	stream server.Stream
	ctx    context.Context
	// Where the one reply of a stream of requests goes.
	reply *any
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) SetHeader(md grpcmetadata.MD) error  { return grpc.SetHeader(s.ctx, md) }
func (s *serverStream) SendHeader(md grpcmetadata.MD) error { return grpc.SendHeader(s.ctx, md) }
func (s *serverStream) SetTrailer(md grpcmetadata.MD)       { _ = grpc.SetTrailer(s.ctx, md) }

func (s *serverStream) SendMsg(message any) error {
	if s.reply != nil {
		*s.reply = message
		return nil
	}
	return toStatus(s.stream.Send(message))
}

func (s *serverStream) RecvMsg(message any) error { return toStatus(s.stream.Recv(message)) }
