package client

import (
	"context"
	"time"

	"github.com/micro/micro/bindings/go/internal/document"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/selector"
)

// Options are what a client is told.
type Options struct {
	// ContentType of requests; empty is by their type.
	ContentType string
	// CallOptions are the defaults of its calls.
	CallOptions CallOptions
	// Wrappers are around it, the first one outermost.
	Wrappers []Wrapper
	// Context is for options of others.
	Context context.Context

	document document.Document
}

// Option sets one of them.
type Option func(*Options)

// CallOptions are the terms of one call.
type CallOptions struct {
	// RequestTimeout is for the whole call, with all attempts; 0 is the client's own.
	RequestTimeout time.Duration
	// StreamTimeout is for the whole stream; 0 is none.
	StreamTimeout time.Duration
	// CallWrappers are around the call, the first one outermost.
	CallWrappers []CallWrapper
	// Context is for options of others.
	Context context.Context

	metadata   metadata.MD
	header     *metadata.MD
	trailer    *metadata.MD
	flags      uint32
	shape      uint32
	detached   bool
	noDeadline bool
	document   document.Document
}

// CallOption sets one of them.
type CallOption func(*CallOptions)

// RequestOptions are what a request is told.
type RequestOptions struct {
	ContentType string
	Stream      bool
	Context     context.Context
}

// RequestOption sets one of them.
type RequestOption func(*RequestOptions)

// RegisterOption sets how nodes are registered.
type RegisterOption func(*registerOptions)

type registerOptions struct{ ttl time.Duration }

// RegisterTTL is how long nodes live without another registration.
func RegisterTTL(ttl time.Duration) RegisterOption { return func(o *registerOptions) { o.ttl = ttl } }

// WithContentType is the content type of a request, such as "application/json".
func WithContentType(kind string) RequestOption {
	return func(o *RequestOptions) { o.ContentType = kind }
}

// StreamingRequest says that a request is for a stream.
func StreamingRequest() RequestOption { return func(o *RequestOptions) { o.Stream = true } }

func (o *Options) set(key string, value any) { o.document.Set(key, value) }

func (o *Options) duration(key string, value time.Duration) { o.document.Duration(key, value) }

func (o *CallOptions) set(key string, value any) { o.document.Set(key, value) }

func (o *CallOptions) duration(key string, value time.Duration) { o.document.Duration(key, value) }

// TLS is who is trusted, and what is shown to servers that ask. Certificates and keys are PEM texts, or names of files, which
// are read again when they change.
type TLS struct {
	// Authority is who is trusted; "system", or empty, is whom the system trusts.
	Authority string
	// Certificate and PrivateKey are shown to servers that ask.
	Certificate, PrivateKey string
	// ServerName is verified instead of the address.
	ServerName string
	// Policy is "required", or "prefer" while a fleet moves to TLS.
	Policy string
}

// Document is for the packages of this module: what the core reads.
func (t TLS) Document() map[string]any {
	made := map[string]any{}
	for key, value := range map[string]any{
		"authority":   document.PEM(t.Authority),
		"certificate": document.PEM(t.Certificate),
		"private_key": document.PEM(t.PrivateKey),
	} {
		if value != nil {
			made[key] = value
		}
	}
	if t.Authority == "" {
		made["authority"] = "system"
	}
	if t.ServerName != "" {
		made["server_name"] = t.ServerName
	}
	if t.Policy != "" {
		made["policy"] = t.Policy
	}
	return made
}

// RetryPolicy is what may be tried again.
type RetryPolicy string

// What may be tried again.
const (
	// RetrySafe is what never reached a handler, and for idempotent endpoints also failures that may pass; the default.
	RetrySafe RetryPolicy = "safe"
	// RetryOnError is go-micro's: failures with 408 and 500.
	RetryOnError RetryPolicy = "go_micro"
	// RetryAlways is go-micro's too: every failure.
	RetryAlways RetryPolicy = "always"
	// RetryNever is nothing.
	RetryNever RetryPolicy = "never"
)

// BackoffPolicy is how long to wait between attempts.
type BackoffPolicy string

// How long to wait between attempts.
const (
	// BackoffJittered is go-micro's times, spread from half to the whole of it; the default.
	BackoffJittered BackoffPolicy = "jittered"
	// BackoffGoMicro is go-micro's times as they are.
	BackoffGoMicro BackoffPolicy = "go_micro"
	// BackoffNone does not wait.
	BackoffNone BackoffPolicy = "none"
)

// Forwarding is which headers of the call that is served go on with calls made for it.
type Forwarding struct {
	// Only and Except are lists of names, which may end in "*".
	Only, Except []string
	// Credentials are names of headers that are secret.
	Credentials []string
	// CredentialsTo is "registry", "anywhere" or "nowhere".
	CredentialsTo string
}

func (f *Forwarding) document() any {
	if f == nil {
		return "none"
	}
	made := map[string]any{}
	for key, value := range map[string][]string{"only": f.Only, "except": f.Except, "credentials": f.Credentials} {
		if value != nil {
			made[key] = value
		}
	}
	if f.CredentialsTo != "" {
		made["credentials_to"] = f.CredentialsTo
	}
	return made
}

// Document adds a JSON object of settings, as docs/configuration.md has them. Its keys replace what options before it said.
func Document(text string) Option { return func(o *Options) { o.document.Read(text) } }

// Registry is the URL of the registry, such as "mdns://"; "host://name" is one given to micro.Provide.
func Registry(url string) Option { return func(o *Options) { o.set("registry", url) } }

// Name is sent as the service that calls.
func Name(name string) Option { return func(o *Options) { o.set("name", name) } }

// Namespace is sent as go-micro's namespace; empty sends none.
func Namespace(name string) Option { return func(o *Options) { o.set("namespace", name) } }

// Broker is the URL of a broker, such as "durable://"; "http://" unless set.
func Broker(url string) Option { return func(o *Options) { o.set("broker", url) } }

// Network is the URL of a network, such as "memory://name".
func Network(url string) Option { return func(o *Options) { o.set("network", url) } }

// Environment false does not read variables such as MICRO_REGISTRY, which come before options unless told so.
func Environment(read bool) Option { return func(o *Options) { o.set("environment", read) } }

// ContentType is that of requests which say none, such as "application/json".
func ContentType(kind string) Option { return func(o *Options) { o.ContentType = kind } }

// Retries is the attempts after the first, unless a call says otherwise.
func Retries(count int) Option { return func(o *Options) { o.set("retries", count) } }

// Retry is what may be tried again.
func Retry(policy RetryPolicy) Option { return func(o *Options) { o.set("retry", string(policy)) } }

// Backoff is how long to wait between attempts.
func Backoff(policy BackoffPolicy) Option {
	return func(o *Options) { o.set("backoff", string(policy)) }
}

// RequestTimeout is for the whole of a call; 5 s unless set, and no more than the context has left.
func RequestTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("timeout", timeout) }
}

// StreamTimeout is for the whole of a stream; none unless set.
func StreamTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.CallOptions.StreamTimeout = timeout }
}

// DialTimeout is how long making a connection may take.
func DialTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("dial_timeout", timeout) }
}

// PoolSize is how many connections there may be to one node.
func PoolSize(count int) Option { return func(o *Options) { o.set("max_connections_per_node", count) } }

// PoolTTL is the age at which a connection takes no more calls; it is closed once it has none.
func PoolTTL(age time.Duration) Option {
	return func(o *Options) { o.duration("max_connection_age", age) }
}

// CallsPerConnection is how many calls are on each connection to a node before another one is made.
func CallsPerConnection(count int) Option {
	return func(o *Options) { o.set("calls_per_connection", count) }
}

// MaxConnections is how many connections there may be to all nodes together.
func MaxConnections(count int) Option { return func(o *Options) { o.set("max_connections", count) } }

// Keepalive is how often connections with calls are probed.
func Keepalive(interval time.Duration) Option {
	return func(o *Options) { o.duration("keepalive", interval) }
}

// KeepaliveTimeout is how long a probed connection may be silent.
func KeepaliveTimeout(timeout time.Duration) Option {
	return func(o *Options) { o.duration("keepalive_timeout", timeout) }
}

// IdleTimeout is how long a connection may be without calls before it is closed; 0 keeps it.
func IdleTimeout(timeout time.Duration) Option {
	return func(o *Options) {
		if timeout == 0 {
			o.set("idle_timeout", "none")
			return
		}
		o.duration("idle_timeout", timeout)
	}
}

// MaxMessageSize is that of a reply, in bytes.
func MaxMessageSize(bytes int) Option { return func(o *Options) { o.set("max_message_size", bytes) } }

// MaxCached is how many bytes of replies are kept for Cached.
func MaxCached(bytes int) Option { return func(o *Options) { o.set("max_cached", bytes) } }

// MaxBuffered is how many bytes of replies are held at once, inflated; more wait, and fail after 5 s.
func MaxBuffered(bytes int) Option { return func(o *Options) { o.set("max_buffered", bytes) } }

// MaxInFlight is how many operations are under way at once; more wait.
func MaxInFlight(count int) Option { return func(o *Options) { o.set("max_in_flight", count) } }

// TLSConfig has every node called with TLS.
func TLSConfig(tls TLS) Option { return func(o *Options) { o.set("tls", tls.Document()) } }

// Metadata is sent with every call.
func Metadata(md metadata.MD) Option {
	return func(o *Options) { o.set("metadata", map[string][]string(md)) }
}

// Idempotent says whether repeating calls is harmless, whatever endpoints say.
func Idempotent(yes bool) Option { return func(o *Options) { o.set("idempotent", yes) } }

// Address is "host:port" of nodes to call instead of asking the registry.
func Address(addresses ...string) Option { return func(o *Options) { o.set("addresses", addresses) } }

// Filters are conditions that a node must meet.
func Filters(filters ...selector.Filter) Option {
	return func(o *Options) { o.set("filters", filters) }
}

// Strategy is how a node is chosen.
func Strategy(strategy selector.Strategy) Option {
	return func(o *Options) { o.set("strategy", string(strategy)) }
}

// Key sends calls with equal keys to the same node.
func Key(key string) Option { return func(o *Options) { o.set("key", key) } }

// WaitForReady waits, within the timeout, until a service has a node that takes connections, instead of failing at once.
func WaitForReady(yes bool) Option { return func(o *Options) { o.set("wait_for_ready", yes) } }

// Cached is how long equal calls are answered with the reply, without a node.
func Cached(age time.Duration) Option { return func(o *Options) { o.duration("cached", age) } }

// Compression is how requests are sent: "gzip", "zstd" or "none".
func Compression(name string) Option { return func(o *Options) { o.set("compression", name) } }

// Forward is which headers of the call that is served go on; nil is none.
func Forward(rules *Forwarding) Option {
	return func(o *Options) { o.set("forward", rules.document()) }
}

// Wrap puts a client around this one.
func Wrap(w Wrapper) Option { return func(o *Options) { o.Wrappers = append(o.Wrappers, w) } }

// WrapCall puts functions around its calls.
func WrapCall(w ...CallWrapper) Option {
	return func(o *Options) { o.CallOptions.CallWrappers = append(o.CallOptions.CallWrappers, w...) }
}
