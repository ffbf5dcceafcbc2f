package microgrpc_test

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/microgrpc"
	"github.com/micro/micro/bindings/go/microgrpc/greeter"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil {
		println(err.Error())
		code = 1
	}
	os.Exit(code)
}

// server is what any program of grpc-go has.
type server struct {
	greeter.UnimplementedGreeterServer
	ended chan error
}

func (s *server) Hello(ctx context.Context, req *greeter.HelloRequest) (*greeter.HelloReply, error) {
	switch req.Name {
	case "":
		refused, err := status.New(codes.InvalidArgument, "a name is missing").WithDetails(
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "name"}}})
		if err != nil {
			return nil, err
		}
		return nil, refused.Err()
	case "slow":
		<-ctx.Done()
		s.ended <- ctx.Err()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	came, _ := metadata.FromIncomingContext(ctx)
	caller, _ := peer.FromContext(ctx)
	if !strings.HasPrefix(caller.Addr.String(), "127.0.0.1:") {
		return nil, status.Error(codes.Internal, "the peer is "+caller.Addr.String())
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("test-head", "1", "test-head", "2")); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("test-tail-bin", "\x00\xff")); err != nil {
		return nil, err
	}
	return &greeter.HelloReply{Message: "Hello, " + req.Name + " of " + strings.Join(came.Get("test-tenant"), "|") + "!"}, nil
}

func (s *server) Again(req *greeter.HelloRequest, stream grpc.ServerStreamingServer[greeter.HelloReply]) error {
	if err := stream.SendHeader(metadata.Pairs("test-head", "early")); err != nil {
		return err
	}
	for range req.Times {
		if err := stream.Send(&greeter.HelloReply{Message: req.Name}); err != nil {
			return err
		}
	}
	stream.SetTrailer(metadata.Pairs("test-tail", "done"))
	return nil
}

func (s *server) All(stream grpc.ClientStreamingServer[greeter.HelloRequest, greeter.HelloReply]) error {
	var names []string
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&greeter.HelloReply{Message: strings.Join(names, " ")})
		}
		if err != nil {
			return err
		}
		names = append(names, req.Name)
	}
}

func (s *server) Talk(stream grpc.BidiStreamingServer[greeter.HelloRequest, greeter.HelloReply]) error {
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			s.ended <- err
			return err
		}
		if req.Name == "" {
			return status.Error(codes.OutOfRange, "that is all")
		}
		if err := stream.Send(&greeter.HelloReply{Message: "Hello, " + req.Name + "!"}); err != nil {
			return err
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t testing.TB, found, wanted T) {
	t.Helper()
	if found != wanted {
		t.Errorf("found %v, wanted %v", found, wanted)
	}
}

// serving starts the greeter under micro or under grpc-go, and says where.
func serving(t *testing.T, under string, one *server, unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) string {
	t.Helper()
	if under == "micro" {
		service := micro.NewService(micro.Name("greeter"), micro.Registry("memory://microgrpc-"+t.Name()), micro.Address("127.0.0.1:0"),
			micro.Environment(false))
		greeter.RegisterGreeterServer(microgrpc.NewServer(service).Intercepted(unary, stream), one)
		must(t, service.Start())
		t.Cleanup(func() { must(t, service.Close()) })
		return service.Address()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var opts []grpc.ServerOption
	if unary != nil {
		opts = append(opts, grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream))
	}
	serving := grpc.NewServer(opts...)
	greeter.RegisterGreeterServer(serving, one)
	done := make(chan struct{})
	go func() { defer close(done); _ = serving.Serve(listener) }()
	t.Cleanup(func() { serving.Stop(); <-done })
	return listener.Addr().String()
}

// calling is a connection to an address by micro or by grpc-go.
func calling(t *testing.T, by, address string) grpc.ClientConnInterface {
	t.Helper()
	if by == "micro" {
		made := micro.NewClient(client.Address(address), client.Environment(false))
		t.Cleanup(func() { _ = made.Close() })
		return microgrpc.NewClientConn(made, "greeter")
	}
	made, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = made.Close() })
	return made
}

// each runs a test with each client against each server, the generated code being the same.
func each(t *testing.T, test func(*testing.T, greeter.GreeterClient, *server)) {
	for _, under := range []string{"micro", "grpc-go"} {
		for _, by := range []string{"micro", "grpc-go"} {
			t.Run(by+"-calls-"+under, func(t *testing.T) {
				one := &server{ended: make(chan error, 16)}
				test(t, greeter.NewGreeterClient(calling(t, by, serving(t, under, one, nil, nil))), one)
			})
		}
	}
}

func TestCallsCarryMetadataBothWays(t *testing.T) {
	each(t, func(t *testing.T, caller greeter.GreeterClient, _ *server) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "test-tenant", "a", "test-tenant", "b")
		var headers, trailers metadata.MD
		reply, err := caller.Hello(ctx, &greeter.HelloRequest{Name: "Ada"}, grpc.Header(&headers), grpc.Trailer(&trailers))
		must(t, err)
		same(t, reply.Message, "Hello, Ada of a|b!")
		same(t, strings.Join(headers.Get("test-head"), "|"), "1|2")
		same(t, strings.Join(trailers.Get("test-tail-bin"), "|"), "\x00\xff")
	})
}

func TestFailuresAreStatusesWithTheirDetails(t *testing.T) {
	each(t, func(t *testing.T, caller greeter.GreeterClient, _ *server) {
		_, err := caller.Hello(t.Context(), &greeter.HelloRequest{})
		said, ok := status.FromError(err)
		same(t, ok, true)
		same(t, said.Code(), codes.InvalidArgument)
		same(t, said.Message(), "a name is missing")
		found := false
		for _, detail := range said.Details() {
			if refused, ok := detail.(*errdetails.BadRequest); ok {
				found = refused.FieldViolations[0].Field == "name"
			}
		}
		same(t, found, true)
	})
}

func TestDeadlinesAndCancellationsReachTheHandler(t *testing.T) {
	each(t, func(t *testing.T, caller greeter.GreeterClient, one *server) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := caller.Hello(ctx, &greeter.HelloRequest{Name: "slow"})
		same(t, status.Code(err), codes.DeadlineExceeded)
		<-one.ended
		ctx, cancel = context.WithCancel(t.Context())
		stream, err := caller.Talk(ctx)
		must(t, err)
		must(t, stream.Send(&greeter.HelloRequest{Name: "Ada"}))
		_, err = stream.Recv()
		must(t, err)
		cancel()
		_, err = stream.Recv()
		same(t, status.Code(err), codes.Canceled)
		same(t, status.Code(<-one.ended), codes.Canceled)
	})
}

func TestStreamsGoEveryWay(t *testing.T) {
	each(t, func(t *testing.T, caller greeter.GreeterClient, _ *server) {
		again, err := caller.Again(t.Context(), &greeter.HelloRequest{Name: "Ada", Times: 100})
		must(t, err)
		headers, err := again.Header()
		must(t, err)
		same(t, strings.Join(headers.Get("test-head"), "|"), "early")
		for range 100 {
			reply, err := again.Recv()
			must(t, err)
			same(t, reply.Message, "Ada")
		}
		_, err = again.Recv()
		same(t, err, io.EOF)
		same(t, strings.Join(again.Trailer().Get("test-tail"), "|"), "done")

		all, err := caller.All(t.Context())
		must(t, err)
		for _, name := range []string{"Ada", "Bob"} {
			must(t, all.Send(&greeter.HelloRequest{Name: name}))
		}
		reply, err := all.CloseAndRecv()
		must(t, err)
		same(t, reply.Message, "Ada Bob")

		talk, err := caller.Talk(t.Context())
		must(t, err)
		for _, name := range []string{"Ada", "Bob"} {
			must(t, talk.Send(&greeter.HelloRequest{Name: name}))
			reply, err := talk.Recv()
			must(t, err)
			same(t, reply.Message, "Hello, "+name+"!")
		}
		must(t, talk.Send(&greeter.HelloRequest{}))
		_, err = talk.Recv()
		same(t, status.Code(err), codes.OutOfRange)
		for {
			// It is over, which sending tells sooner or later.
			if err := talk.Send(&greeter.HelloRequest{Name: "late"}); err != nil {
				same(t, err, io.EOF)
				break
			}
		}
	})
}

func TestInterceptorsAreAroundCallsOnBothSides(t *testing.T) {
	var seen []string
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		seen = append(seen, info.FullMethod)
		method, _ := grpc.Method(ctx)
		seen = append(seen, method)
		return handler(ctx, req)
	}
	stream := func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		seen = append(seen, info.FullMethod)
		return handler(srv, ss)
	}
	one := &server{ended: make(chan error, 16)}
	connection := calling(t, "micro", serving(t, "micro", one, unary, stream)).(*microgrpc.ClientConn)
	connection = connection.Intercepted(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			seen = append(seen, "call "+method)
			return invoke(ctx, method, req, reply, cc, opts...)
		},
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			seen = append(seen, "open "+method)
			return open(ctx, desc, cc, method, opts...)
		})
	caller := greeter.NewGreeterClient(connection)
	_, err := caller.Hello(t.Context(), &greeter.HelloRequest{Name: "Ada"})
	must(t, err)
	again, err := caller.Again(t.Context(), &greeter.HelloRequest{Name: "Ada", Times: 1})
	must(t, err)
	for err == nil {
		_, err = again.Recv()
	}
	same(t, err, io.EOF)
	prefix := "/microgrpc.test.Greeter/"
	wanted := []string{"call " + prefix + "Hello", prefix + "Hello", prefix + "Hello", "open " + prefix + "Again", prefix + "Again"}
	same(t, strings.Join(seen, " "), strings.Join(wanted, " "))
}

func TestOptionsOfACallAreKeptOrRefused(t *testing.T) {
	one := &server{ended: make(chan error, 16)}
	caller := greeter.NewGreeterClient(calling(t, "micro", serving(t, "micro", one, nil, nil)))
	finished := make(chan error, 1)
	_, err := caller.Hello(t.Context(), &greeter.HelloRequest{Name: "Ada"}, grpc.OnFinish(func(err error) { finished <- err }),
		grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(5))
	same(t, status.Code(err), codes.ResourceExhausted)
	same(t, status.Code(<-finished), codes.ResourceExhausted)
	_, err = caller.Hello(t.Context(), &greeter.HelloRequest{Name: "Ada"}, grpc.UseCompressor("gzip"))
	must(t, err)
	_, err = caller.Hello(t.Context(), &greeter.HelloRequest{Name: "Ada"}, grpc.Peer(new(peer.Peer)))
	same(t, status.Code(err), codes.Unimplemented)
}

func TestReflectionKnowsTheMessages(t *testing.T) {
	service := micro.NewService(micro.Name("greeter"), micro.Registry("memory://"+t.Name()), micro.Network("memory://"+t.Name()), micro.Environment(false))
	made := microgrpc.NewServer(service)
	greeter.RegisterGreeterServer(made, &server{})
	same(t, len(made.GetServiceInfo()["microgrpc.test.Greeter"].Methods), 4)
	must(t, service.Start())
	defer service.Close()
	for _, one := range service.Record().Endpoints {
		if one.Name == "Greeter.Hello" {
			same(t, one.Request.Name, "HelloRequest")
			return
		}
	}
	t.Error("the endpoint is not registered")
}
