package server

import (
	"context"
	"time"

	"github.com/micro/micro/bindings/go/internal/document"
)

// Options are what a server is told.
type Options struct {
	Name         string
	Id           string
	Version      string
	Address      string
	Advertise    string
	Metadata     map[string]string
	HdlrWrappers []HandlerWrapper
	SubWrappers  []SubscriberWrapper
	// Context is that of its handlers.
	Context context.Context

	// RegisterCheck is asked before each registration.
	RegisterCheck func(context.Context) error

	document document.Document
}

// Option sets one of them.
type Option func(*Options)

// HandlerOptions are what a handler is told.
type HandlerOptions struct {
	// Internal endpoints are served, and not advertised.
	Internal bool
	// Metadata is labels of endpoints, by their names.
	Metadata map[string]map[string]string
	// Idempotent endpoints may be called again by clients, and ReadOnly ones change nothing: web pages may call them with a GET.
	Idempotent, ReadOnly bool
	// Document is a JSON object of settings of an endpoint, as docs/configuration.md has them.
	Document string
	// Request and Response name the types of its messages, and Descriptors is a serialized FileDescriptorSet in base64 that
	// has them: what reflection tells of an endpoint of bytes.
	Request, Response, Descriptors string

	document document.Document
}

// HandlerOption sets one of them.
type HandlerOption func(*HandlerOptions)

func (o *HandlerOptions) set(key string, value any) { o.document.Set(key, value) }

// EndpointMetadata labels an endpoint.
func EndpointMetadata(name string, metadata map[string]string) HandlerOption {
	return func(o *HandlerOptions) {
		if o.Metadata == nil {
			o.Metadata = map[string]map[string]string{}
		}
		o.Metadata[name] = metadata
	}
}

// InternalHandler serves endpoints without advertising them.
func InternalHandler(yes bool) HandlerOption {
	return func(o *HandlerOptions) { o.Internal = yes; o.set("internal", yes) }
}

// Idempotent says that repeating a call is harmless, so that clients may.
func Idempotent(yes bool) HandlerOption {
	return func(o *HandlerOptions) { o.Idempotent = yes; o.set("idempotent", yes) }
}

// ReadOnly says that a call changes nothing, so that web pages may call with a GET.
func ReadOnly(yes bool) HandlerOption {
	return func(o *HandlerOptions) { o.ReadOnly = yes; o.set("read_only", yes) }
}

// Labels are those of the endpoint: what EndpointMetadata says by name.
func Labels(metadata map[string]string) HandlerOption {
	return func(o *HandlerOptions) { o.set("metadata", metadata) }
}

// Descriptors has reflection know the messages of an endpoint whose handler takes bytes: their full names, and a serialized
// FileDescriptorSet in base64.
func Descriptors(request, response, descriptors string) HandlerOption {
	return func(o *HandlerOptions) {
		o.set("request", request)
		o.set("response", response)
		o.set("descriptors", descriptors)
	}
}

// HandlerDocument adds a JSON object of settings of an endpoint, as docs/configuration.md has them.
func HandlerDocument(text string) HandlerOption {
	return func(o *HandlerOptions) { o.document.Read(text) }
}

func (o *Options) set(key string, value any) { o.document.Set(key, value) }

func (o *Options) duration(key string, value time.Duration) { o.document.Duration(key, value) }

// TLS is what a server shows. Certificates and keys are PEM texts, or names of files, which are read again when they change.
type TLS struct {
	// Certificate and PrivateKey are shown to every caller.
	Certificate, PrivateKey string
	// Authority lets in only callers with a certificate from there; empty lets in all.
	Authority string
}

func (t TLS) document() map[string]any {
	made := map[string]any{"certificate": document.PEM(t.Certificate), "private_key": document.PEM(t.PrivateKey)}
	if t.Authority != "" {
		made["authority"] = document.PEM(t.Authority)
	}
	return made
}

// Limits are those of the limiter, which keeps calls from waiting in vain.
type Limits struct {
	// Off leaves only the fixed bounds.
	Off bool
	// Patience is the longest wait in line; 0 is adaptive.
	Patience time.Duration
	// AtLeast is how many calls may always run at once; 0 is 1.
	AtLeast int
}

func (l Limits) document() any {
	if l.Off {
		return "off"
	}
	var made document.Document
	if l.Patience > 0 {
		made.Duration("patience", l.Patience)
	}
	if l.AtLeast > 0 {
		made.Set("at_least", l.AtLeast)
	}
	if made.Empty() {
		return "adaptive"
	}
	return made.Fields()
}

// Document adds a JSON object of settings, as docs/configuration.md has them. Its keys replace what options before it said.
func Document(text string) Option { return func(o *Options) { o.document.Read(text) } }

// Settings is a JSON file of settings, which come before these options.
func Settings(file string) Option { return func(o *Options) { o.set("settings", file) } }

// Name is what callers call it by.
func Name(name string) Option { return func(o *Options) { o.Name = name } }

// Id is that of the node, which is "<name>-<id>"; random unless set.
func Id(id string) Option { return func(o *Options) { o.Id = id; o.set("id", id) } }

// Version is that of the service; "latest" unless set.
func Version(version string) Option {
	return func(o *Options) { o.Version = version; o.set("version", version) }
}

// Address is where it listens, such as ":8080".
func Address(address string) Option {
	return func(o *Options) { o.Address = address; o.set("address", address) }
}

// Advertise is what it registers instead.
func Advertise(address string) Option {
	return func(o *Options) { o.Advertise = address; o.set("advertise", address) }
}

// Metadata is labels of the node.
func Metadata(labels map[string]string) Option {
	return func(o *Options) { o.Metadata = labels; o.set("metadata", labels) }
}

// Registry is the URL of a registry, such as "mdns://"; "host://name" is one given to micro.Provide.
func Registry(url string) Option { return func(o *Options) { o.set("registry", url) } }

// Broker is the URL of a broker, such as "durable://"; "http://" unless set.
func Broker(url string) Option { return func(o *Options) { o.set("broker", url) } }

// Network is the URL of a network, such as "memory://name".
func Network(url string) Option { return func(o *Options) { o.set("network", url) } }

// Environment false does not read variables such as MICRO_SERVER_ADDRESS, which come before options unless told so.
func Environment(read bool) Option { return func(o *Options) { o.set("environment", read) } }

// RegisterTTL is how long the registry keeps the node without news of it; longer than the interval, and 0 is for ever.
func RegisterTTL(ttl time.Duration) Option {
	return func(o *Options) { o.duration("register_ttl", ttl) }
}

// RegisterInterval is how often the node is registered anew; 0 is never.
func RegisterInterval(interval time.Duration) Option {
	return func(o *Options) { o.duration("register_interval", interval) }
}

// RegisterTimeout is how long a request to the registry may take.
func RegisterTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("register_timeout", timeout) }
}

// RegisterCheck is asked before each registration: while it fails, or takes longer than RegisterTimeout, the node is not registered
// and health checks fail.
func RegisterCheck(check func(context.Context) error) Option {
	return func(o *Options) { o.RegisterCheck = check }
}

// RegisterCheckURL is what must answer before each registration: "tcp://host:port", or "http://host:port/path" with 200 to 299.
func RegisterCheckURL(url string) Option { return func(o *Options) { o.set("register_check", url) } }

// Quiet says nothing at the start.
func Quiet(yes bool) Option { return func(o *Options) { o.set("quiet", yes) } }

// Args are the arguments that the program was started with, without its name: flags such as "--address=:8080" come before variables,
// documents and options. What follows "--" is the program's own.
func Args(args ...string) Option { return func(o *Options) { o.set("args", args) } }

// Once has it serve one call or message, refuse others that come meanwhile, and stop in order once that is answered or settled,
// whatever became of it: what micro.NewFunction makes.
func Once(yes bool) Option { return func(o *Options) { o.set("once", yes) } }

// Propagation is how long it serves on after deregistering.
func Propagation(wait time.Duration) Option {
	return func(o *Options) { o.duration("propagation", wait) }
}

// Grace is how long running calls have after that.
func Grace(grace time.Duration) Option { return func(o *Options) { o.duration("grace", grace) } }

// TLSConfig has it serve TLS and nothing else.
func TLSConfig(tls TLS) Option { return func(o *Options) { o.set("tls", tls.document()) } }

// MaxConcurrentCalls is how many calls may run at once.
func MaxConcurrentCalls(count int) Option {
	return func(o *Options) { o.set("max_concurrent_calls", count) }
}

// MaxConnections is how many connections there may be.
func MaxConnections(count int) Option { return func(o *Options) { o.set("max_connections", count) } }

// MaxConcurrentStreams is how many calls may run at once on each connection.
func MaxConcurrentStreams(count int) Option {
	return func(o *Options) { o.set("max_concurrent_streams", count) }
}

// MaxMessageSize is that of a request, in bytes.
func MaxMessageSize(bytes int) Option { return func(o *Options) { o.set("max_message_size", bytes) } }

// MaxHeaderSize is that of the headers of a call, in bytes.
func MaxHeaderSize(bytes int) Option { return func(o *Options) { o.set("max_header_size", bytes) } }

// MaxUnsentReplies is how many bytes of replies a connection may ask for and not take.
func MaxUnsentReplies(bytes int) Option {
	return func(o *Options) { o.set("max_unsent_replies", bytes) }
}

// MaxBuffered is how many bytes of requests are held at once, inflated; more wait, and are refused after 5 s.
func MaxBuffered(bytes int) Option { return func(o *Options) { o.set("max_buffered", bytes) } }

// MaxBufferedPerConnection is those of one connection.
func MaxBufferedPerConnection(bytes int) Option {
	return func(o *Options) { o.set("max_buffered_per_connection", bytes) }
}

// Compression is how answers are sent: "gzip", "zstd" or "none".
func Compression(name string) Option { return func(o *Options) { o.set("compression", name) } }

// AllowOrigins are those whose web pages may call.
func AllowOrigins(origins ...string) Option {
	return func(o *Options) { o.set("allow_origins", origins) }
}

// Keepalive is how often an idle connection is probed; 0 is never.
func Keepalive(interval time.Duration) Option {
	return func(o *Options) {
		if interval == 0 {
			o.set("keepalive", "none")
			return
		}
		o.duration("keepalive", interval)
	}
}

// MaxConnectionAge is how long a connection may last.
func MaxConnectionAge(age time.Duration) Option {
	return func(o *Options) { o.duration("max_connection_age", age) }
}

// HandshakeTimeout is for a TLS handshake, the first bytes, and each head that has begun.
func HandshakeTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("handshake_timeout", timeout) }
}

// BodyTimeout is for the message of a request, with a millisecond more for each of its bytes.
func BodyTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("body_timeout", timeout) }
}

// IdleTimeout is how long an HTTP/1.1 connection may be idle.
func IdleTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("idle_timeout", timeout) }
}

// Limiter keeps calls from waiting in vain; adaptive unless set.
func Limiter(limits Limits) Option { return func(o *Options) { o.set("limiter", limits.document()) } }

// WrapHandler puts functions around handlers, the first one outermost.
func WrapHandler(w ...HandlerWrapper) Option {
	return func(o *Options) { o.HdlrWrappers = append(o.HdlrWrappers, w...) }
}

// WrapSubscriber puts functions around subscribers, the first one outermost.
func WrapSubscriber(w ...SubscriberWrapper) Option {
	return func(o *Options) { o.SubWrappers = append(o.SubWrappers, w...) }
}
