package micro

import (
	"context"
	"time"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/server"
)

// Options are what a service is told.
type Options struct {
	// BeforeStart hooks run before the service listens, in the order in which they were added; what one returns ends the start.
	BeforeStart []func() error
	// AfterStart hooks run once it is registered; what one returns stops it again.
	AfterStart []func() error
	// BeforeStop hooks run before a service that is stopped deregisters. The stop goes on whatever they return.
	BeforeStop []func() error
	// AfterStop hooks run when nothing is served any more.
	AfterStop []func() error
	// Context is that of its handlers, and ends Run.
	Context context.Context
	// Signal says whether Run stops at signals.
	Signal bool

	clients []client.Option
	servers []server.Option
}

// Option sets one of them.
type Option func(*Options)

func ofServer(opts ...server.Option) Option {
	return func(o *Options) { o.servers = append(o.servers, opts...) }
}

func ofClient(opts ...client.Option) Option {
	return func(o *Options) { o.clients = append(o.clients, opts...) }
}

// Server adds options of its server, such as server.Grace.
func Server(opts ...server.Option) Option { return ofServer(opts...) }

// Client adds options of its client, such as client.Retries.
func Client(opts ...client.Option) Option { return ofClient(opts...) }

// Document adds a JSON object of settings, as docs/configuration.md has them. Its keys replace what options before it said.
func Document(text string) Option { return ofServer(server.Document(text)) }

// Name is what callers call it by.
func Name(name string) Option { return ofServer(server.Name(name)) }

// Version is that of the service; "latest" unless set.
func Version(version string) Option { return ofServer(server.Version(version)) }

// Id is that of the node, which is "<name>-<id>"; random unless set.
func Id(id string) Option { return ofServer(server.Id(id)) }

// Address is where it listens, such as ":8080".
func Address(address string) Option { return ofServer(server.Address(address)) }

// Advertise is what it registers instead.
func Advertise(address string) Option { return ofServer(server.Advertise(address)) }

// Metadata is labels of the node.
func Metadata(labels map[string]string) Option { return ofServer(server.Metadata(labels)) }

// Registry is the URL of the registry, such as "mdns://"; "host://name" is one given to Provide.
func Registry(url string) Option {
	return func(o *Options) {
		ofServer(server.Registry(url))(o)
		ofClient(client.Registry(url))(o)
	}
}

// Broker is the URL of the broker that its subscribers and its client use, such as "durable://"; "http://" unless set.
func Broker(url string) Option {
	return func(o *Options) {
		ofServer(server.Broker(url))(o)
		ofClient(client.Broker(url))(o)
	}
}

// Network is the URL of a network, such as "memory://name".
func Network(url string) Option {
	return func(o *Options) {
		ofServer(server.Network(url))(o)
		ofClient(client.Network(url))(o)
	}
}

// Environment false does not read variables such as MICRO_REGISTRY, which come before options unless told so.
func Environment(read bool) Option {
	return func(o *Options) {
		ofServer(server.Environment(read))(o)
		ofClient(client.Environment(read))(o)
	}
}

// RegisterTTL is how long the registry keeps the node without news of it; longer than the interval, and 0 is for ever.
func RegisterTTL(ttl time.Duration) Option { return ofServer(server.RegisterTTL(ttl)) }

// RegisterInterval is how often the node is registered anew; 0 is never.
func RegisterInterval(interval time.Duration) Option {
	return ofServer(server.RegisterInterval(interval))
}

// Args are the arguments that the program was started with, as server.Args says: micro.Args(os.Args[1:]...).
func Args(args ...string) Option { return ofServer(server.Args(args...)) }

// Context is that of its handlers, and ends Run.
func Context(ctx context.Context) Option { return func(o *Options) { o.Context = ctx } }

// HandleSignal says whether Run stops at signals; it does unless told otherwise.
func HandleSignal(yes bool) Option { return func(o *Options) { o.Signal = yes } }

// WrapClient puts clients around that of the service, the first one outermost.
func WrapClient(w ...client.Wrapper) Option {
	return func(o *Options) {
		for _, one := range w {
			ofClient(client.Wrap(one))(o)
		}
	}
}

// WrapCall puts functions around calls of its client, the first one outermost.
func WrapCall(w ...client.CallWrapper) Option { return ofClient(client.WrapCall(w...)) }

// WrapHandler puts functions around handlers, the first one outermost.
func WrapHandler(w ...server.HandlerWrapper) Option { return ofServer(server.WrapHandler(w...)) }

// WrapSubscriber puts functions around subscribers, the first one outermost.
func WrapSubscriber(w ...server.SubscriberWrapper) Option {
	return ofServer(server.WrapSubscriber(w...))
}

// BeforeStart runs before the service listens; what it returns ends the start.
func BeforeStart(hook func() error) Option {
	return func(o *Options) { o.BeforeStart = append(o.BeforeStart, hook) }
}

// AfterStart runs once the service is registered; what it returns stops it again.
func AfterStart(hook func() error) Option {
	return func(o *Options) { o.AfterStart = append(o.AfterStart, hook) }
}

// BeforeStop runs before a service that is stopped deregisters.
func BeforeStop(hook func() error) Option {
	return func(o *Options) { o.BeforeStop = append(o.BeforeStop, hook) }
}

// AfterStop runs when nothing is served any more.
func AfterStop(hook func() error) Option {
	return func(o *Options) { o.AfterStop = append(o.AfterStop, hook) }
}
