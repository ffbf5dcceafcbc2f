package main

import (
	"net"
	"net/http"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/api/handler"
	"github.com/micro/go-micro/v2/api/handler/rpc"
	"github.com/micro/go-micro/v2/api/router"
	"github.com/micro/go-micro/v2/api/router/registry"
)

// gateway serves go-micro's own rpc handler with routes out of the registry. The HTTP server around it is Go's, as in go-micro,
// without the access log and the certificates that it brings along.
func gateway(lines *lines, service micro.Service, address string) {
	routes := registry.NewRouter(
		router.WithHandler(rpc.Handler),
		router.WithRegistry(service.Options().Registry),
	)
	defer routes.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fail(err)
	}
	defer listener.Close()
	go http.Serve(listener, rpc.NewHandler(handler.WithRouter(routes), handler.WithClient(service.Client())))
	lines.ready(map[string]interface{}{"address": listener.Addr().String()})
	lines.run()
}
