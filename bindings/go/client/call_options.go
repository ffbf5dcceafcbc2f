package client

import (
	"time"

	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/selector"
)

// WithDocument adds a JSON object of settings, as docs/configuration.md has them. Its keys replace what options before it said.
func WithDocument(text string) CallOption {
	return func(o *CallOptions) { o.document.Read(text) }
}

// WithAddress is "host:port" of nodes to call instead of asking the registry.
func WithAddress(addresses ...string) CallOption {
	return func(o *CallOptions) { o.set("addresses", addresses) }
}

// WithRequestTimeout is for the whole call, with all attempts. What the context has left is the most.
func WithRequestTimeout(timeout time.Duration) CallOption {
	return func(o *CallOptions) { o.RequestTimeout = timeout }
}

// WithStreamTimeout is for the whole stream.
func WithStreamTimeout(timeout time.Duration) CallOption {
	return func(o *CallOptions) { o.StreamTimeout = timeout }
}

// WithoutDeadline waits for ever, where the context does too.
func WithoutDeadline() CallOption { return func(o *CallOptions) { o.noDeadline = true } }

// WithMetadata sends headers, beside those of the context.
func WithMetadata(md metadata.MD) CallOption {
	return func(o *CallOptions) {
		merged := o.metadata.Copy()
		for name, values := range md {
			merged.Set(name, values...)
		}
		o.metadata = merged
	}
}

// WithHeader puts the headers of the answer there, also those of a failure.
func WithHeader(into *metadata.MD) CallOption { return func(o *CallOptions) { o.header = into } }

// WithTrailer puts the trailers of the answer there, also those of a failure.
func WithTrailer(into *metadata.MD) CallOption { return func(o *CallOptions) { o.trailer = into } }

// WithRetries is the attempts after the first.
func WithRetries(count int) CallOption { return func(o *CallOptions) { o.set("retries", count) } }

// WithRetry is what may be tried again.
func WithRetry(policy RetryPolicy) CallOption {
	return func(o *CallOptions) { o.set("retry", string(policy)) }
}

// WithBackoff is how long to wait between attempts.
func WithBackoff(policy BackoffPolicy) CallOption {
	return func(o *CallOptions) { o.set("backoff", string(policy)) }
}

// WithSelectOption is how a node is chosen.
func WithSelectOption(opts ...selector.SelectOption) CallOption {
	return func(o *CallOptions) {
		var chosen selector.SelectOptions
		for _, opt := range opts {
			opt(&chosen)
		}
		if chosen.Strategy != "" {
			o.set("strategy", string(chosen.Strategy))
		}
		if len(chosen.Filters) > 0 {
			o.set("filters", chosen.Filters)
		}
	}
}

// WithKey sends calls with equal keys to the same node.
func WithKey(key string) CallOption { return func(o *CallOptions) { o.set("key", key) } }

// WithWaitForReady waits, within the timeout, until the service has a node that takes connections.
func WithWaitForReady(yes bool) CallOption {
	return func(o *CallOptions) { o.set("wait_for_ready", yes) }
}

// WithIdempotent says whether repeating the call is harmless, whatever the endpoint says.
func WithIdempotent(yes bool) CallOption {
	return func(o *CallOptions) {
		o.flags &^= native.Idempotent | native.NotIdempotent
		if yes {
			o.flags |= native.Idempotent
		} else {
			o.flags |= native.NotIdempotent
		}
	}
}

// WithCached is how long equal calls are answered with the reply, without a node.
func WithCached(age time.Duration) CallOption {
	return func(o *CallOptions) { o.duration("cached", age) }
}

// WithCompression is how the request is sent: "gzip", "zstd" or "none".
func WithCompression(name string) CallOption {
	return func(o *CallOptions) { o.set("compression", name) }
}

// WithForward is which headers of the call that is served go on; nil is none.
func WithForward(rules *Forwarding) CallOption {
	return func(o *CallOptions) { o.set("forward", rules.document()) }
}

// Detached makes a call that is part of none, even inside a handler; the context still ends it.
func Detached() CallOption { return func(o *CallOptions) { o.detached = true } }

// WithCallWrapper puts functions around this call.
func WithCallWrapper(w ...CallWrapper) CallOption {
	return func(o *CallOptions) {
		o.CallWrappers = append(o.CallWrappers[:len(o.CallWrappers):len(o.CallWrappers)], w...)
	}
}

// WithShape says which stream is opened; both ways unless it is said. For the packages of this module.
func WithShape(shape uint32) CallOption { return func(o *CallOptions) { o.shape = shape } }
