package main

import (
	"github.com/micro/go-micro/v2/errors"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
)

// failed is an error as a go-micro program sees it, and the gRPC status behind it where there still is one.
type failed struct {
	ID     string      `json:"id"`
	Code   int32       `json:"code"`
	Detail string      `json:"detail"`
	Status string      `json:"status"`
	Text   string      `json:"text"`
	Grpc   *grpcStatus `json:"grpc,omitempty"`
}

type grpcStatus struct {
	Code    int32    `json:"code"`
	Message string   `json:"message"`
	Details []detail `json:"details"`
}

// detail is one Any of a status; the value is base64 in JSON.
type detail struct {
	Type  string `json:"type"`
	Value []byte `json:"value"`
}

func describe(err error) *failed {
	f := &failed{Text: err.Error()}
	if micro, ok := err.(*errors.Error); ok {
		f.ID, f.Code, f.Detail, f.Status = micro.Id, micro.Code, micro.Detail, micro.Status
		return f
	}
	// Streams hand out the bare status error.
	if s, ok := status.FromError(err); ok {
		f.Grpc = describeStatus(s.Proto())
		micro := errors.Parse(s.Message())
		f.ID, f.Code, f.Detail, f.Status = micro.Id, micro.Code, micro.Detail, micro.Status
	}
	return f
}

func describeStatus(s *spb.Status) *grpcStatus {
	if s == nil {
		return &grpcStatus{Details: []detail{}}
	}
	g := &grpcStatus{Code: s.Code, Message: s.Message, Details: []detail{}}
	for _, any := range s.Details {
		g.Details = append(g.Details, detail{any.TypeUrl, any.Value})
	}
	return g
}
