// Package api is what generated code of go-micro's names of its HTTP gateway.
package api

import (
	"strings"

	"github.com/micro/micro/bindings/go/server"
)

// Endpoint is how the gateway leads requests to an endpoint.
type Endpoint struct {
	// Name is that of the endpoint, such as "Greeter.Hello".
	Name string
	// Description is what it is for.
	Description string
	// Handler is that of the gateway, such as "rpc".
	Handler string
	// Host, Method and Path are those of requests.
	Host, Method, Path []string
	// Body is where the body goes: "*" or empty is the whole message.
	Body string
	// Stream says whether it streams.
	Stream bool
}

// Encode is the labels that say so.
func Encode(e *Endpoint) map[string]string {
	if e == nil {
		return nil
	}
	labels := map[string]string{}
	for key, value := range map[string]string{
		"endpoint":    e.Name,
		"description": e.Description,
		"handler":     e.Handler,
		"method":      strings.Join(e.Method, ","),
		"path":        strings.Join(e.Path, ","),
		"host":        strings.Join(e.Host, ","),
	} {
		if value != "" {
			labels[key] = value
		}
	}
	return labels
}

// WithEndpoint labels an endpoint so.
func WithEndpoint(e *Endpoint) server.HandlerOption {
	return server.EndpointMetadata(e.Name, Encode(e))
}
