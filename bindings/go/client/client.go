// Package client calls services by name, as go-micro's package of this name does.
package client

import (
	"context"

	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/registry"
)

// Client calls services by name, wherever they run. It is safe for concurrent use. Implementations of one's own, such as those
// of a Wrapper, embed another one.
type Client interface {
	// Init adds options; the next call uses them. What is under way is cancelled.
	Init(opts ...Option) error
	// Options are those it has.
	Options() Options
	// NewRequest makes a request. Its body is a protobuf message, []byte, or whatever encoding/json takes.
	NewRequest(service, endpoint string, body any, opts ...RequestOption) Request
	// Call makes a unary call and reads the reply into what `rsp` points to. It ends with its context, on both sides.
	// Failures are *errors.Error, with the service, the node and the attempts.
	Call(ctx context.Context, req Request, rsp any, opts ...CallOption) error
	// Stream opens a stream. It ends with its context, or by Close.
	Stream(ctx context.Context, req Request, opts ...CallOption) (Stream, error)
	// String is its kind.
	String() string

	// Lookup is the versions and nodes of a service, as the registry knows them; CodeNotFound when there is none. What is
	// asked here and below waits for 10 s, unless the context ends before.
	Lookup(ctx context.Context, service string) ([]*registry.Service, error)
	// Services is every service the registry knows.
	Services(ctx context.Context) ([]*registry.Service, error)
	// Register adds the nodes of a record to the registry, or refreshes those it knows; they live for ever unless RegisterTTL
	// says how long. Services do this by themselves.
	Register(ctx context.Context, service *registry.Service, opts ...RegisterOption) error
	// Deregister removes the nodes of a record from the registry; those it does not know are no error.
	Deregister(ctx context.Context, service *registry.Service) error
	// Health asks each node of a service whether it wants calls.
	Health(ctx context.Context, service string) ([]registry.Health, error)
	// Nodes is the nodes of a service that this client chooses from, with what it has seen of each.
	Nodes(ctx context.Context, service string) ([]registry.KnownNode, error)
	// Stats is what this client has seen so far, as JSON: calls, failures and latencies by endpoint.
	Stats(ctx context.Context) ([]byte, error)
	// NewMessage makes a message. Its payload is a protobuf message, []byte, or whatever encoding/json takes.
	NewMessage(topic string, payload any, opts ...MessageOption) Message
	// Publish publishes a message, and returns once its broker has it.
	Publish(ctx context.Context, msg Message, opts ...PublishOption) error
	// Task sends a message whose answer can be asked for, and returns its id; micro.HandleTask works it off. That needs a broker that
	// keeps messages, such as "durable://".
	Task(ctx context.Context, msg Message, opts ...PublishOption) (string, error)
	// TaskResult waits for the answer of a task, whichever process sent it, and reads it into what `rsp` points to. It waits for 10 s,
	// unless the context says otherwise; CodeDeadlineExceeded where there is none by then. It is kept for a day.
	TaskResult(ctx context.Context, id string, rsp any) error
	// TaskState is how far a task has come. One whose results are kept no longer is told as queued.
	TaskState(ctx context.Context, id string) (*TaskState, error)
	// Subscribe takes messages of a topic, each of which the program settles; from when it returns until the context ends.
	Subscribe(ctx context.Context, topic string, opts ...SubscribeOption) (*Subscription, error)
	// Watch tells what changes of all services, or of one with WatchService, from when it returns until the context ends.
	Watch(ctx context.Context, opts ...WatchOption) (*Watch, error)
	// Close cancels what is under way and lets it go; harmless when repeated.
	Close() error
}

// Request is a request to a service.
type Request interface {
	Service() string
	Method() string
	Endpoint() string
	ContentType() string
	Body() any
	// Stream says whether it is for a stream.
	Stream() bool
}

// Response is what came along with the replies of a stream.
type Response interface {
	// Header waits for the headers.
	Header() map[string]string
}

// Stream is messages both ways. One goroutine may send while another receives.
type Stream interface {
	Context() context.Context
	Request() Request
	Response() Response
	// Send sends a message; it waits while the far side is slow.
	Send(msg any) error
	// Recv reads the next message into what `msg` points to. After the last it says io.EOF.
	Recv(msg any) error
	// Error is what the stream ended with, once it did; nil where it was in order.
	Error() error
	// CloseSend says that this side sends no more; the far side may still answer.
	CloseSend() error
	// Close cancels the stream, unless it is over; harmless when repeated.
	Close() error
	// Header waits for the headers of the answer.
	Header() (metadata.MD, error)
	// Trailer is that of the answer; empty before the end.
	Trailer() metadata.MD
}

// Wrapper puts another client around one.
type Wrapper func(Client) Client

// CallFunc makes a call. The core chooses nodes, for each attempt anew: `node` is empty.
type CallFunc func(ctx context.Context, node *registry.Node, req Request, rsp any, opts CallOptions) error

// CallWrapper puts a function around each call, with all its attempts.
type CallWrapper func(CallFunc) CallFunc

// DefaultClient is one for those who need no other.
var DefaultClient = NewClient()

// Call makes a call with the DefaultClient.
func Call(ctx context.Context, req Request, rsp any, opts ...CallOption) error {
	return DefaultClient.Call(ctx, req, rsp, opts...)
}

// NewRequest makes a request with the DefaultClient.
func NewRequest(service, endpoint string, body any, opts ...RequestOption) Request {
	return DefaultClient.NewRequest(service, endpoint, body, opts...)
}

// NewMessage makes a message with the DefaultClient.
func NewMessage(topic string, payload any, opts ...MessageOption) Message {
	return DefaultClient.NewMessage(topic, payload, opts...)
}

// Publish publishes a message with the DefaultClient.
func Publish(ctx context.Context, msg Message, opts ...PublishOption) error {
	return DefaultClient.Publish(ctx, msg, opts...)
}

// NewStream opens a stream with the DefaultClient.
func NewStream(ctx context.Context, req Request, opts ...CallOption) (Stream, error) {
	return DefaultClient.Stream(ctx, req, opts...)
}
