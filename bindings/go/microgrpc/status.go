// Package microgrpc puts a client and a service of micro under code that protoc-gen-go-grpc has generated, as it is.
//
//	caller := greeter.NewGreeterClient(microgrpc.NewClientConn(client, "greeter"))
//
//	greeter.RegisterGreeterServer(microgrpc.NewServer(service), new(Greeter))
package microgrpc

import (
	"io"

	"github.com/micro/micro/bindings/go/errors"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// Status is a failure of micro as gRPC's: code, text and details. OK for nil.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	var said *errors.Error
	if !errors.As(err, &said) {
		if known, ok := status.FromError(err); ok {
			return known
		}
		return status.New(codes.Code(errors.CodeFor(err)), err.Error())
	}
	made := &spb.Status{Code: int32(errors.CodeFor(said)), Message: said.Detail}
	for _, one := range said.Details {
		made.Details = append(made.Details, &anypb.Any{TypeUrl: "type.googleapis.com/" + one.Name, Value: one.Value})
	}
	return status.FromProto(made)
}

// toStatus is the error that generated code returns; io.EOF is its own.
func toStatus(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return Status(err).Err()
}
