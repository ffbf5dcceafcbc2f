// Package microtest has services and their callers in one process, for tests: no port, no network, no registry outside.
package microtest

import (
	"strconv"
	"sync/atomic"
	"testing"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
)

var count atomic.Uint64

// Fleet is a registry and a network of a test's own, in this process.
type Fleet struct {
	t   testing.TB
	url string
}

// New makes a fleet. What it starts ends with the test.
func New(t testing.TB) *Fleet {
	return &Fleet{t, "memory://microtest-" + strconv.FormatUint(count.Add(1), 10)}
}

// URL is that of its registry and of its network.
func (f *Fleet) URL() string { return f.url }

// Service makes a service that knows the fleet alone, and no variables of the environment.
func (f *Fleet) Service(name string, opts ...micro.Option) micro.Service {
	f.t.Helper()
	own := []micro.Option{micro.Name(name), micro.Registry(f.url), micro.Network(f.url), micro.Environment(false)}
	made := micro.NewService(append(own, opts...)...)
	f.t.Cleanup(func() {
		if err := made.Close(); err != nil {
			f.t.Errorf("%s did not stop in order: %s", name, err)
		}
	})
	return made
}

// Start starts a service; the test fails where that does.
func (f *Fleet) Start(service micro.Service) micro.Service {
	f.t.Helper()
	if err := service.Start(); err != nil {
		f.t.Fatalf("%s did not start: %s", service.Name(), err)
	}
	return service
}

// Client makes a client that knows the fleet alone.
func (f *Fleet) Client(opts ...client.Option) client.Client {
	f.t.Helper()
	own := []client.Option{client.Registry(f.url), client.Network(f.url), client.Environment(false)}
	made := micro.NewClient(append(own, opts...)...)
	f.t.Cleanup(func() { _ = made.Close() })
	return made
}
