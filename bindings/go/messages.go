package micro

import (
	"context"
	"reflect"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/server"
)

// Publish publishes a message, and returns once its broker has it. The message is a protobuf message, []byte, or whatever
// encoding/json takes. Failures are *errors.Error.
func Publish(ctx context.Context, c client.Client, topic string, message any, opts ...client.PublishOption) error {
	return c.Publish(ctx, c.NewMessage(topic, message), opts...)
}

// Subscribe adds a subscriber to a topic. In is a pointer to a protobuf message, []byte, or whatever encoding/json reads. What the
// handler returns is why a message was not handled: broker.Retry and broker.Reject say more. A panic is the failure of its message
// alone.
func Subscribe[In any](s Service, topic string, handler func(context.Context, In) error, opts ...server.SubscriberOption) error {
	return s.Server().Subscribe(server.SubscriberOf(topic, handler, reflect.TypeFor[In](), func() any { return new(In) },
		func(ctx context.Context, message any) error { return handler(ctx, *message.(*In)) }, opts...))
}

// RegisterSubscriber adds a function such as func(context.Context, *Message) error as a subscriber to a topic, as go-micro does.
func RegisterSubscriber(topic string, s server.Server, handler any, opts ...server.SubscriberOption) error {
	return s.Subscribe(s.NewSubscriber(topic, handler, opts...))
}

// Event publishes to a topic.
type Event interface {
	Publish(ctx context.Context, message any, opts ...client.PublishOption) error
}

type event struct {
	topic  string
	client client.Client
}

// NewEvent makes one that publishes to a topic.
func NewEvent(topic string, c client.Client) Event { return &event{topic, c} }

func (e *event) Publish(ctx context.Context, message any, opts ...client.PublishOption) error {
	return Publish(ctx, e.client, e.topic, message, opts...)
}
