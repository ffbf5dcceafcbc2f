package main

import (
	"context"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/server"
)

func refused(name string) error {
	return errors.Newf(errors.CodePermissionDenied, "", "refused by %s", name)
}

// ofHandlers is the layer of a service, as the README says.
func ofHandlers(name string) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			server.SetHeader(ctx, "layer", name)
			came, _ := metadata.FromIncoming(ctx)
			if came.Get("refuse") == name {
				return refused(name)
			}
			if reply, ok := rsp.(*[]byte); ok && came.Get("answer") == name {
				*reply = []byte(name)
				return nil
			}
			defer server.SetTrailer(ctx, "layer-end", name)
			return next(ctx, req, rsp)
		}
	}
}

// ofClients is the layer of a client, as the README says.
func ofClients(name string) client.Wrapper {
	return func(next client.Client) client.Client { return layer{next, name} }
}

type layer struct {
	client.Client
	name string
}

func (l layer) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	sent := metadata.Outgoing(ctx)
	if sent.Get("refuse") == l.name {
		return refused(l.name)
	}
	if reply, ok := rsp.(*[]byte); ok && sent.Get("answer") == l.name {
		*reply = []byte(l.name)
		return nil
	}
	return l.Client.Call(metadata.Append(ctx, "test-layer", l.name), req, rsp, opts...)
}

func (l layer) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	if metadata.Outgoing(ctx).Get("refuse") == l.name {
		return nil, refused(l.name)
	}
	return l.Client.Stream(metadata.Append(ctx, "test-layer", l.name), req, opts...)
}
