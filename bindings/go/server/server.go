// Package server serves calls, as go-micro's package of this name does.
package server

import (
	"context"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/registry"
)

// Server serves the endpoints it is given.
type Server interface {
	// Options are those it has.
	Options() Options
	// Init adds options, before it is started.
	Init(opts ...Option) error
	// Handle adds the endpoints of a handler, before it is started.
	Handle(handler Handler) error
	// NewHandler makes a handler of a value: each method that fits becomes the endpoint "Type.Method".
	//
	//	func (g *Greeter) Hello(ctx context.Context, req *Request, rsp *Response) error
	//	func (g *Greeter) Talk(ctx context.Context, stream server.Stream) error
	NewHandler(value any, opts ...HandlerOption) Handler
	// Subscribe adds a subscriber to a topic, before it is started.
	Subscribe(subscriber Subscriber) error
	// NewSubscriber makes a subscriber of a function such as func(context.Context, *Message) error.
	NewSubscriber(topic string, value any, opts ...SubscriberOption) Subscriber
	// AddJob adds a function that runs by the clock, before it is started.
	AddJob(job *Job) error
	// Start listens and registers; it returns when callers may come.
	Start() error
	// Stop deregisters, finishes running calls within the grace, and returns when that is done; harmless when repeated.
	Stop() error
	// String is its kind.
	String() string
}

// Handler is endpoints of one value.
type Handler interface {
	Name() string
	Handler() any
	Endpoints() []*registry.Endpoint
	Options() HandlerOptions
}

// Request is a call that came in.
type Request interface {
	// Service is the name of the service that serves it.
	Service() string
	Method() string
	Endpoint() string
	ContentType() string
	// Header is what came along: one value a name, in lower case.
	Header() map[string]string
	// Body is the message, decoded; nil of a stream of requests.
	Body() any
	// Read is the message as it came.
	Read() ([]byte, error)
	// Stream says whether it is for a stream.
	Stream() bool
}

// Stream is messages both ways. One goroutine may send while another receives.
type Stream interface {
	Context() context.Context
	Request() Request
	// Send sends a reply; it waits while the caller is slow.
	Send(msg any) error
	// Recv reads the next request into what `msg` points to. After the last it says io.EOF.
	Recv(msg any) error
	// Error is what went wrong with it so far.
	Error() error
	// Close does nothing: a stream ends when its handler returns.
	Close() error
}

// HandlerFunc handles a call: `rsp` points to the reply, or is a Stream.
type HandlerFunc func(ctx context.Context, req Request, rsp any) error

// HandlerWrapper puts a function around handlers.
type HandlerWrapper func(HandlerFunc) HandlerFunc

// Info is what is known of a call beside its message.
type Info struct {
	Service  string `json:"service"`
	Endpoint string `json:"endpoint"`
	// Caller is the service that calls, if it says so.
	Caller string `json:"caller"`
	// Peer is the address it calls from.
	Peer    string `json:"peer"`
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

// Describe says who calls, and which trace the call is part of; false where the context is of none, or it is over.
func Describe(ctx context.Context) (Info, bool) {
	if serving, ok := ctx.Value(callKey{}).(*call); ok {
		return serving.describe()
	}
	return Info{}, false
}

// SetHeader adds values to a header of the answer. Of a stream, only before the first reply. False where the context is of no call.
func SetHeader(ctx context.Context, name string, values ...string) bool {
	serving, ok := ctx.Value(callKey{}).(*call)
	if ok {
		serving.setHeader(name, values)
	}
	return ok
}

// SendHeader sends the headers of a stream now, before its first reply; without effect once they were sent. Headers that are set
// afterwards may be lost. CodeInvalidArgument where the answer is one message, which its headers come with.
func SendHeader(ctx context.Context) error {
	serving, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return errors.Newf(errors.CodeFailedPrecondition, "micro", "the context is that of no call")
	}
	if failure := serving.native.SendHeaders(); failure != nil {
		return errors.FromNative(failure, nil)
	}
	return nil
}

// SetTrailer adds values to a trailer of the answer. False where the context is of no call.
func SetTrailer(ctx context.Context, name string, values ...string) bool {
	serving, ok := ctx.Value(callKey{}).(*call)
	if ok {
		serving.setTrailer(name, values)
	}
	return ok
}

// Header is every value of what came along with the call; false where the context is of none.
func Header(ctx context.Context) (metadata.MD, bool) { return metadata.FromIncoming(ctx) }
