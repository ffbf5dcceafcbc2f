package client

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/document"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/internal/scope"
	"github.com/micro/micro/bindings/go/metadata"
)

// Message is one to be published.
type Message interface {
	Topic() string
	Payload() any
	ContentType() string
}

// MessageOptions are what a message is told.
type MessageOptions struct{ ContentType string }

// MessageOption sets one of them.
type MessageOption func(*MessageOptions)

// WithMessageContentType is the content type of a message, such as "application/json"; empty is by its type.
func WithMessageContentType(kind string) MessageOption {
	return func(o *MessageOptions) { o.ContentType = kind }
}

type message struct {
	topic   string
	payload any
	kind    string
}

func (m *message) Topic() string       { return m.topic }
func (m *message) Payload() any        { return m.payload }
func (m *message) ContentType() string { return m.kind }

func (r *rpc) NewMessage(topic string, payload any, opts ...MessageOption) Message {
	var terms MessageOptions
	for _, opt := range opts {
		opt(&terms)
	}
	return &message{topic, payload, terms.ContentType}
}

// PublishOptions are the terms of a message.
type PublishOptions struct {
	metadata metadata.MD
	timeout  time.Duration
	detached bool
	document document.Document
}

// PublishOption sets one of them.
type PublishOption func(*PublishOptions)

func (o *PublishOptions) set(key string, value any) { o.document.Set(key, value) }

func (o *PublishOptions) duration(key string, value time.Duration) { o.document.Duration(key, value) }

// PublishDocument adds a JSON object of settings, as docs/messages.md has them. Its keys replace what options before it said.
func PublishDocument(text string) PublishOption {
	return func(o *PublishOptions) { o.document.Read(text) }
}

// PublishMetadata sends headers, beside those of the context.
func PublishMetadata(md metadata.MD) PublishOption {
	return func(o *PublishOptions) { o.metadata = md }
}

// PublishTimeout is how long the broker may take; 10 s unless set. What the context has left is the most.
func PublishTimeout(timeout time.Duration) PublishOption {
	return func(o *PublishOptions) { o.timeout = timeout }
}

// PublishKey has messages of one key handled one after the other.
func PublishKey(key string) PublishOption { return func(o *PublishOptions) { o.set("key", key) } }

// PublishDelay has a message delivered after that.
func PublishDelay(delay time.Duration) PublishOption {
	return func(o *PublishOptions) { o.duration("delay", delay) }
}

// PublishExpiry has a message delivered within that, or not at all.
func PublishExpiry(within time.Duration) PublishOption {
	return func(o *PublishOptions) { o.duration("expires_in", within) }
}

// PublishId names a message: published again with the same one, it is delivered once.
func PublishId(id string) PublishOption { return func(o *PublishOptions) { o.set("id", id) } }

// PublishPriority is 0 to 9: of messages that wait, the highest comes first.
func PublishPriority(priority int) PublishOption {
	return func(o *PublishOptions) { o.set("priority", priority) }
}

// WithExchange is the topic of the broker to publish to, while the message says its own.
func WithExchange(topic string) PublishOption {
	return func(o *PublishOptions) { o.set("exchange", topic) }
}

// PublishCloudEvent has a message say of itself what an event of CloudEvents 1.0 does, in headers.
func PublishCloudEvent(event broker.CloudEvent) PublishOption {
	return func(o *PublishOptions) { o.set("cloud_event", event.Document()) }
}

// PublishDetached publishes a message that is part of nothing, even inside a handler; the context still ends it.
func PublishDetached() PublishOption {
	return func(o *PublishOptions) { o.detached = true }
}

func (r *rpc) Publish(ctx context.Context, msg Message, opts ...PublishOption) error {
	var terms PublishOptions
	for _, opt := range opts {
		opt(&terms)
	}
	_, err := r.publish(ctx, msg, &terms)
	return err
}

// publish sends a message, and returns what its broker is told to give back.
func (r *rpc) publish(ctx context.Context, msg Message, terms *PublishOptions) ([]byte, error) {
	made, err := r.publication(ctx, msg, terms)
	if err != nil {
		return nil, err
	}
	client, err := r.open()
	if err != nil {
		return nil, err
	}
	result := client.Publish(ctx, made)
	if result.Err != nil {
		return nil, errors.FromNative(result.Err, result.Meta)
	}
	return result.Payload, nil
}

func (r *rpc) publication(ctx context.Context, msg Message, terms *PublishOptions) (*native.Publication, error) {
	if err := ctx.Err(); err != nil {
		return nil, over(err)
	}
	kind, err := r.contentType(msg.ContentType(), msg.Payload())
	if err != nil {
		return nil, err
	}
	made := &native.Publication{Topic: msg.Topic(), Flags: native.Wait | kind}
	if made.Payload, err = codec.Encode(msg.Payload(), kind, "the message", false); err != nil {
		return nil, err
	}
	var parent *native.Inbound
	if !terms.detached {
		if parent = scope.Parent(ctx); parent != nil {
			made.Parent = parent.ID
		}
	}
	if made.Timeout, err = timeout(ctx, parent, terms.timeout, false); err != nil {
		return nil, err
	}
	if made.Meta, err = headers(ctx, terms.metadata); err != nil {
		return nil, err
	}
	if !terms.document.Empty() {
		if made.Options, err = terms.document.JSON(); err != nil {
			return nil, errors.Newf(errors.CodeInvalidArgument, "micro", "%s", err)
		}
	}
	return made, nil
}

// Subscription is messages of a topic, each the program's until it says what became of it. One goroutine takes them.
type Subscription struct {
	ctx      context.Context
	native   *native.Stream
	runtime  *native.Runtime
	unfollow func() bool
}

// SubscribeOption sets how messages are taken.
type SubscribeOption func(*subscribeOptions)

type subscribeOptions struct {
	queue, deadLetters       string
	start                    *broker.Start
	maxInFlight, maxAttempts *int
	lease, timeout           time.Duration
}

// SubscribeQueue shares messages with the other subscribers of a queue; without one, each subscription gets all.
func SubscribeQueue(queue string) SubscribeOption {
	return func(o *subscribeOptions) { o.queue = queue }
}

// SubscribeStart is where a queue that is new begins, such as broker.FromFirst().
func SubscribeStart(start broker.Start) SubscribeOption {
	return func(o *subscribeOptions) { o.start = &start }
}

// SubscribeMaxInFlight is how many messages nothing was said of yet there may be, 1 to 65536.
func SubscribeMaxInFlight(maxInFlight int) SubscribeOption {
	return func(o *subscribeOptions) { o.maxInFlight = &maxInFlight }
}

// SubscribeMaxAttempts is how often a message is delivered before it is a dead letter, 1 to 1000.
func SubscribeMaxAttempts(maxAttempts int) SubscribeOption {
	return func(o *subscribeOptions) { o.maxAttempts = &maxAttempts }
}

// SubscribeLease is how long a message may be with a process that gives no sign of life.
func SubscribeLease(lease time.Duration) SubscribeOption {
	return func(o *subscribeOptions) { o.lease = lease }
}

// SubscribeDeadLetters is the topic of messages that failed too often.
func SubscribeDeadLetters(deadLetters string) SubscribeOption {
	return func(o *subscribeOptions) { o.deadLetters = deadLetters }
}

// SubscribeTimeout is how long the beginning may take; 10 s unless set.
func SubscribeTimeout(timeout time.Duration) SubscribeOption {
	return func(o *subscribeOptions) { o.timeout = timeout }
}

func (r *rpc) Subscribe(ctx context.Context, topic string, opts ...SubscribeOption) (*Subscription, error) {
	var terms subscribeOptions
	for _, opt := range opts {
		opt(&terms)
	}
	client, err := r.open()
	if err != nil {
		return nil, err
	}
	asked, err := question(ctx, native.BrokerSubscribe, "topic", topic)
	if err != nil {
		return nil, err
	}
	if terms.queue != "" {
		asked.Args["queue"] = terms.queue
	}
	if terms.start != nil {
		asked.Args["start"] = terms.start.Document()
	}
	if terms.maxInFlight != nil {
		asked.Args["max_in_flight"] = *terms.maxInFlight
	}
	if terms.maxAttempts != nil {
		asked.Args["max_attempts"] = *terms.maxAttempts
	}
	if terms.lease != 0 {
		asked.Args["lease"] = fmt.Sprintf("%.9fs", terms.lease.Seconds())
	}
	if terms.deadLetters != "" {
		asked.Args["dead_letters"] = terms.deadLetters
	}
	// What the context has left is for the whole of it.
	asked.Timeout = uint64(terms.timeout)
	opened, unfollow, err := follow(ctx, client, asked)
	if err != nil {
		return nil, err
	}
	return &Subscription{ctx, opened, client.Runtime(), unfollow}, nil
}

// Next waits for the next message; io.EOF once the subscription was closed, and CodeCanceled once its context is done.
func (s *Subscription) Next() (*broker.Delivery, error) {
	received, ok := s.native.Next()
	if ok && received.Lent != nil {
		settle := func(verdict uint32, after time.Duration, reason string) error {
			if failure := s.runtime.Settle(received.Lent.ID, verdict, after, reason); failure != nil {
				return errors.FromNative(failure, nil)
			}
			return nil
		}
		return broker.NewDelivery(broker.NewMessage(received.Payload, received.Lent.Meta, uint32(received.Flags)), settle), nil
	}
	s.unfollow()
	if err := s.ctx.Err(); err != nil {
		return nil, over(err)
	}
	meta, failure, _ := s.native.End()
	if failure == nil || failure.Status == native.Cancelled {
		return nil, io.EOF
	}
	return nil, errors.FromNative(failure, meta)
}

// All is the messages, until the subscription was closed or one is an error. Breaking out of it closes it.
func (s *Subscription) All() iter.Seq2[*broker.Delivery, error] {
	return func(yield func(*broker.Delivery, error) bool) {
		defer s.Close()
		for {
			delivery, err := s.Next()
			if err == io.EOF || !yield(delivery, err) || err != nil {
				return
			}
		}
	}
}

// Close ends it: what nothing was said of is delivered again, where the broker can. Harmless when repeated.
func (s *Subscription) Close() {
	s.unfollow()
	s.native.Cancel()
}
