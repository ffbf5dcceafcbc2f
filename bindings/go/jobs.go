package micro

import (
	"context"
	"reflect"
	"time"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/server"
)

// Every runs a function once in each interval, 1 s to 366 days: once in the whole fleet, or on each node with server.JobScope("node").
// The former needs a broker that keeps messages, such as "durable://". What the function returns is why the run failed: broker.Retry
// and broker.Reject say more. A panic is the failure of its run alone. server.RunFromContext says which run it is.
func Every(s Service, interval time.Duration, handler func(context.Context) error, opts ...server.JobOption) error {
	return s.Server().AddJob(server.NewEvery(interval, handler, opts...))
}

// Cron is Every, at the moments that a cron expression names, such as "0 3 * * *": minute, hour, day of month, month and day of week,
// with seconds before them where there are six fields. They are read in UTC, or in server.JobZone.
func Cron(s Service, expression string, handler func(context.Context) error, opts ...server.JobOption) error {
	return s.Server().AddJob(server.NewCron(expression, handler, opts...))
}

// HandleTask works off the tasks of a topic: what the handler returns can be asked for with TaskResult. It is a subscriber like any
// other, of the queue "tasks" unless another is named, and begins with the first task there is. That needs a broker that keeps
// messages, such as "durable://".
func HandleTask[In, Out any](s Service, topic string, handler func(context.Context, In) (Out, error), opts ...server.SubscriberOption) error {
	return s.Server().Subscribe(server.TaskOf(topic, handler, reflect.TypeFor[In](), func() any { return new(In) },
		func(ctx context.Context, message any) (any, error) { return handler(ctx, *message.(*In)) }, opts...))
}

// Task sends a message whose answer can be asked for, and returns its id. HandleTask works it off.
func Task(ctx context.Context, c client.Client, topic string, message any, opts ...client.PublishOption) (string, error) {
	return c.Task(ctx, c.NewMessage(topic, message), opts...)
}

// TaskResult waits for the answer of a task, whichever process sent it, until the context ends, or 10 s where it does not.
// CodeDeadlineExceeded where there is none by then: it may come later. The error of its last attempt, where it was given up.
func TaskResult[Out any](ctx context.Context, c client.Client, id string) (Out, error) {
	var answer Out
	err := c.TaskResult(ctx, id, &answer)
	return answer, err
}

// Function is a service that serves one call or one message, and ends.
type Function interface {
	Service
	// Done has it end although it has served nothing; Run returns then.
	Done() error
	// Handle serves the methods of a value, or what server.NewHandler made of one.
	Handle(v any) error
	// Subscribe handles messages of a topic with a function such as func(context.Context, *Message) error.
	Subscribe(topic string, v any) error
}

type function struct{ *service }

// NewFunction makes one. Run returns once one call or message is answered or settled, whatever became of it; others that come meanwhile
// are refused. As in go-micro, it is registered for a minute, and every 30 s, unless options say otherwise.
func NewFunction(opts ...Option) Function {
	first := []Option{RegisterTTL(time.Minute), RegisterInterval(30 * time.Second), Server(server.Once(true))}
	return &function{NewService(append(first, opts...)...).(*service)}
}

func (f *function) Done() error {
	if running := f.server.Running(); running != nil {
		running.Stop()
	}
	return nil
}

func (f *function) Handle(v any) error {
	if made, ok := v.(server.Handler); ok {
		return f.server.Handle(made)
	}
	return f.server.Handle(f.server.NewHandler(v))
}

func (f *function) Subscribe(topic string, v any) error {
	return f.server.Subscribe(f.server.NewSubscriber(topic, v))
}
