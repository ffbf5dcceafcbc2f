package server

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/document"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/registry"
)

// Message is one of a topic, as wrappers of subscribers see it; broker.FromContext has all that is known of it.
type Message interface {
	Topic() string
	// Payload is what its subscriber is given.
	Payload() any
	ContentType() string
	Header() map[string]string
	// Body is its bytes.
	Body() []byte
}

// SubscriberFunc handles a message. What it returns is why it was not handled: broker.Retry and broker.Reject say more.
type SubscriberFunc func(ctx context.Context, msg Message) error

// SubscriberWrapper puts a function around subscribers.
type SubscriberWrapper func(SubscriberFunc) SubscriberFunc

// Subscriber handles messages of a topic.
type Subscriber interface {
	Topic() string
	// Subscriber is the value or function it was made of.
	Subscriber() any
	Endpoints() []*registry.Endpoint
	Options() SubscriberOptions
}

// SubscriberOptions are what a subscriber is told.
type SubscriberOptions struct {
	Queue    string
	Internal bool

	document document.Document
}

// SubscriberOption sets one of them.
type SubscriberOption func(*SubscriberOptions)

func (o *SubscriberOptions) set(key string, value any) { o.document.Set(key, value) }

func (o *SubscriberOptions) duration(key string, value time.Duration) {
	o.document.Duration(key, value)
}

// SubscriberDocument adds a JSON object of settings of a subscriber. Its keys replace what options before it said.
func SubscriberDocument(text string) SubscriberOption {
	return func(o *SubscriberOptions) { o.document.Read(text) }
}

// SubscriberQueue shares messages among the subscribers of a queue; without one, each instance gets all.
func SubscriberQueue(queue string) SubscriberOption {
	return func(o *SubscriberOptions) { o.Queue = queue; o.set("queue", queue) }
}

// SubscriberStart is where a queue that is new begins, such as broker.FromFirst().
func SubscriberStart(start broker.Start) SubscriberOption {
	return func(o *SubscriberOptions) { o.set("start", start.Document()) }
}

// SubscriberMaxInFlight is how many messages are handled at a time, 1 to 65536.
func SubscriberMaxInFlight(count int) SubscriberOption {
	return func(o *SubscriberOptions) { o.set("max_in_flight", count) }
}

// SubscriberMaxAttempts is how often a message is delivered before it is a dead letter, 1 to 1000.
func SubscriberMaxAttempts(count int) SubscriberOption {
	return func(o *SubscriberOptions) { o.set("max_attempts", count) }
}

// SubscriberLease is how long a message may be with a process that gives no sign of life.
func SubscriberLease(lease time.Duration) SubscriberOption {
	return func(o *SubscriberOptions) { o.duration("lease", lease) }
}

// SubscriberDeadLetters is the topic of messages that failed too often.
func SubscriberDeadLetters(topic string) SubscriberOption {
	return func(o *SubscriberOptions) { o.set("dead_letters", topic) }
}

// SubscriberBackoff is how long a message waits after a failure: "jittered", "go_micro" or "none".
func SubscriberBackoff(policy string) SubscriberOption {
	return func(o *SubscriberOptions) { o.set("backoff", policy) }
}

// SubscriberTimeout is the most time for one message.
func SubscriberTimeout(timeout time.Duration) SubscriberOption {
	return func(o *SubscriberOptions) { o.duration("timeout", timeout) }
}

// InternalSubscriber subscribes without telling the registry.
func InternalSubscriber(yes bool) SubscriberOption {
	return func(o *SubscriberOptions) { o.Internal = yes; o.set("internal", yes) }
}

// SubscriberRequest names the type of its messages; that of the handler's, unless it is set.
func SubscriberRequest(name string) SubscriberOption {
	return func(o *SubscriberOptions) { o.set("request", name) }
}

type subscriber struct {
	topic  string
	value  any
	opts   SubscriberOptions
	in     reflect.Type
	made   func() any
	handle func(ctx context.Context, message any) error
	isTask bool
	err    error
}

func (s *subscriber) Topic() string              { return s.topic }
func (s *subscriber) Subscriber() any            { return s.value }
func (s *subscriber) Options() SubscriberOptions { return s.opts }

func (s *subscriber) Endpoints() []*registry.Endpoint {
	return []*registry.Endpoint{{Name: s.topic, Metadata: map[string]string{"topic": s.topic, "subscriber": "true"}}}
}

func (s *subscriber) apply(opts []SubscriberOption) *subscriber {
	for _, opt := range opts {
		opt(&s.opts)
	}
	return s
}

// SubscriberOf makes a subscriber of a function with types, which micro.Subscribe does. For the packages of this module.
func SubscriberOf(topic string, value any, in reflect.Type, made func() any, handle func(context.Context, any) error, opts ...SubscriberOption) Subscriber {
	return (&subscriber{topic: topic, value: value, in: in, made: made, handle: handle}).apply(opts)
}

// TaskOf makes a subscriber whose answers can be asked for, which micro.HandleTask does. For the packages of this module.
func TaskOf(topic string, value any, in reflect.Type, made func() any, work func(context.Context, any) (any, error), opts ...SubscriberOption) Subscriber {
	handle := func(ctx context.Context, message any) (err error) {
		serving, ok := ctx.Value(callKey{}).(*call)
		if !ok {
			return errors.Newf(errors.CodeInternal, "micro", "a wrapper gave the task %s a context that is not of it: make it of the one it was given", topic)
		}
		serving.reply, err = work(ctx, message)
		return err
	}
	one := &subscriber{topic: topic, value: value, in: in, made: made, handle: handle, isTask: true}
	one.opts.set("task", true)
	return one.apply(opts)
}

// NewSubscriber makes a subscriber of a function such as func(context.Context, *Message) error.
func NewSubscriber(topic string, value any, opts ...SubscriberOption) Subscriber {
	one := &subscriber{topic: topic, value: value}
	kind := reflect.TypeOf(value)
	if kind == nil || kind.Kind() != reflect.Func || kind.NumIn() != 2 || kind.NumOut() != 1 || kind.In(0) != contexts || kind.Out(0) != failures {
		one.err = fmt.Errorf("the subscriber of %s is %T: give a func(context.Context, *Message) error", topic, value)
		return one
	}
	function, in := reflect.ValueOf(value), kind.In(1)
	one.in = in
	one.made = func() any { return reflect.New(in).Interface() }
	one.handle = func(ctx context.Context, message any) error {
		return failed(function.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(message).Elem()}))
	}
	return one.apply(opts)
}

func (r *rpc) NewSubscriber(topic string, value any, opts ...SubscriberOption) Subscriber {
	return NewSubscriber(topic, value, opts...)
}

func (r *rpc) Subscribe(given Subscriber) error {
	made, ok := given.(*subscriber)
	if !ok {
		return errors.Newf(errors.CodeInvalidArgument, "micro", "%T is no subscriber of this package: give what NewSubscriber made", given)
	}
	if made.err != nil {
		return errors.Newf(errors.CodeInvalidArgument, "micro", "%s", made.err)
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.native != nil {
		return running(r.opts.Name)
	}
	r.subscribers = append(r.subscribers, made)
	return nil
}

// settings is the subscriber's document.
func (s *subscriber) settings() ([]byte, error) {
	made := s.opts.document.Copy()
	if _, told := made.Get("request"); !told && s.in != nil {
		name := typeName(s.in)
		if known := message(s.in); known != nil {
			name = string(known.FullName())
		}
		made.Set("request", name)
	}
	return made.JSON()
}

// served is a subscriber with the wrappers around it, as what is served.
func (s *subscriber) served(wrappers []SubscriberWrapper) *served {
	handle := SubscriberFunc(func(ctx context.Context, msg Message) error { return s.handle(ctx, msg.Payload()) })
	for at := len(wrappers); at > 0; at-- {
		handle = wrappers[at-1](handle)
	}
	return &served{endpoint: &endpoint{name: s.topic, shape: native.Unary}, subscriber: s, deliver: handle}
}

// delivered is a message that is handled.
type delivered struct {
	*broker.Message
	payload any
}

func (d delivered) Topic() string       { return d.Message.Topic }
func (d delivered) Payload() any        { return d.payload }
func (d delivered) ContentType() string { return d.Message.ContentType }
func (d delivered) Body() []byte        { return d.Message.Body }

func (d delivered) Header() map[string]string {
	flat := make(map[string]string, len(d.Message.Header))
	for name := range d.Message.Header {
		flat[name] = d.Message.Header.Get(name)
	}
	return flat
}

// receive handles a message, or carries out a run of a job, and says what became of it.
func (c *call) receive() {
	var answer []byte
	var err error
	switch {
	case c.job != nil:
		err = c.ran()
	default:
		if err = c.handled(); err == nil && c.subscriber.isTask {
			answer, err = codec.Encode(c.reply, c.codec(), "what the task "+c.endpoint.name+" returned", true)
		}
	}
	var verdict *broker.Verdict
	switch {
	case err == nil:
		c.native.Reply(answer, nil)
	case errors.As(err, &verdict):
		what, after := verdict.Told()
		c.native.Settle(what, after, verdict.Reason())
	default:
		c.native.Fail(errors.ToNative(err), nil)
	}
}

func (c *call) handled() (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			slog.Error("a subscriber panicked", "topic", c.endpoint.name, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			err = errors.Newf(errors.CodeInternal, "micro", "the subscriber of %s failed: the log of its service says why", c.endpoint.name)
		}
	}()
	c.message = broker.NewMessage(c.native.Payload, c.native.Meta, uint32(c.native.Flags))
	payload := c.subscriber.made()
	what := "a message of " + c.endpoint.name
	if err := codec.Decode(c.native.Payload, c.codec(), payload, what, errors.CodeInvalidArgument); err != nil {
		// It will be no other the next time.
		return broker.Reject(err)
	}
	return c.deliver(c, delivered{c.message, payload})
}
