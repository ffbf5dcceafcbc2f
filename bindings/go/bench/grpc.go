package main

import (
	"context"
	"io"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
)

// raw leaves messages as they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, into any) error {
	// Its buffer is used again.
	*into.(*[]byte) = append([]byte(nil), data...)
	return nil
}

var _ encoding.Codec = raw{}

var echo = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var message []byte
		return &message, decode(&message)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		var count []byte
		err := stream.RecvMsg(&count)
		left, wrong := strconv.Atoi(string(count))
		message := make([]byte, streamedSize)
		for ; err == nil && wrong == nil && left > 0; left-- {
			err = stream.SendMsg(&message)
		}
		return err
	}}},
}

func serveGRPC() (string, func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	server.RegisterService(&echo, nil)
	go func() { must(server.Serve(listener)) }()
	return listener.Addr().String(), server.Stop
}

type grpcCaller struct{ connection *grpc.ClientConn }

func callGRPC(address string) caller {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	must(err)
	return grpcCaller{connection}
}

func (c grpcCaller) call(message []byte) (reply []byte, err error) {
	err = c.connection.Invoke(context.Background(), "/bench.Echo/Call", &message, &reply)
	return reply, err
}

func (c grpcCaller) stream(count int) (read int, err error) {
	stream, err := c.connection.NewStream(context.Background(), &echo.Streams[0], "/bench.Echo/Stream")
	if err != nil {
		return 0, err
	}
	asked := []byte(strconv.Itoa(count))
	if err := stream.SendMsg(&asked); err != nil {
		return 0, err
	}
	if err := stream.CloseSend(); err != nil {
		return 0, err
	}
	var message []byte
	for {
		if err := stream.RecvMsg(&message); err == io.EOF {
			return read, nil
		} else if err != nil {
			return read, err
		}
		read++
	}
}
