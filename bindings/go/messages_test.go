package micro_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// topics is a fleet with a broker of its own, in memory.
func topics(t *testing.T) (*microtest.Fleet, client.Client, micro.Option) {
	t.Helper()
	fleet := microtest.New(t)
	return fleet, fleet.Client(client.Broker(fleet.URL())), micro.Broker(fleet.URL())
}

// kept is a fleet with a broker on a disk of its own.
func kept(t *testing.T) (*microtest.Fleet, client.Client, micro.Option) {
	t.Helper()
	fleet, url := microtest.New(t), "durable://"+t.TempDir()
	return fleet, fleet.Client(client.Broker(url)), micro.Broker(url)
}

// one is the next of a channel; the test fails where none comes.
func one[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30 s")
		panic("unreachable")
	}
}

func TestAMessageIsHandledWithAllThatIsKnownOfIt(t *testing.T) {
	fleet, publisher, on := topics(t)
	service := fleet.Service("billing", on)
	handled := make(chan *broker.Message, 1)
	must(t, micro.Subscribe(service, "orders", func(ctx context.Context, who person) error {
		message, ok := broker.FromContext(ctx)
		same(t, ok, true)
		same(t, who.Name, "Ada")
		same(t, metadata.MD(message.Header).Get("tenant"), "blue")
		handled <- message
		return nil
	}, server.SubscriberQueue("billing")))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "orders", person{Name: "Ada"}, client.PublishMetadata(metadata.Pairs("tenant", "blue"))))
	message := one(t, handled)
	same(t, message.Topic, "orders")
	same(t, message.ContentType, "application/json")
	same(t, message.Attempt, 1)
	same(t, time.Since(message.Published).Abs() < time.Hour, true)
}

func TestMessagesAreProtobufJSONOrBytesByTheirTypes(t *testing.T) {
	fleet, publisher, on := topics(t)
	service := fleet.Service("billing", on)
	got := make(chan string, 3)
	must(t, micro.Subscribe(service, "protobuf", func(_ context.Context, message *wrapperspb.StringValue) error {
		got <- message.Value
		return nil
	}))
	must(t, micro.Subscribe(service, "bytes", func(_ context.Context, message []byte) error {
		got <- string(message)
		return nil
	}))
	must(t, micro.RegisterSubscriber("events", service.Server(), func(_ context.Context, who *person) error {
		got <- who.Name
		return nil
	}))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "protobuf", wrapperspb.String("in protobuf")))
	must(t, micro.Publish(t.Context(), publisher, "bytes", []byte("as bytes")))
	must(t, micro.NewEvent("events", service.Client()).Publish(t.Context(), &person{Name: "in JSON"}))
	var all []string
	for range 3 {
		all = append(all, one(t, got))
	}
	slices.Sort(all)
	same(t, fmt.Sprint(all), "[as bytes in JSON in protobuf]")
}

func TestAPanicIsTheFailureOfOneMessage(t *testing.T) {
	fleet, publisher, on := topics(t)
	service := fleet.Service("billing", on)
	handled := make(chan int, 1)
	must(t, micro.Subscribe(service, "orders", func(_ context.Context, order int) error {
		if order == 13 {
			panic("a secret")
		}
		handled <- order
		return nil
	}))
	fleet.Start(service)
	// A broker in memory tells the publisher.
	err := micro.Publish(t.Context(), publisher, "orders", 13)
	same(t, errors.CodeFor(err), errors.CodeInternal)
	same(t, fmt.Sprint(err) != "" && !containsText(err, "secret"), true)
	must(t, micro.Publish(t.Context(), publisher, "orders", 7))
	same(t, one(t, handled), 7)
}

func TestASubscriberThatEndsItsGoroutineHasFailed(t *testing.T) {
	fleet, publisher, on := topics(t)
	service := fleet.Service("billing", on)
	must(t, micro.Subscribe(service, "orders", func(context.Context, int) error {
		goexit()
		return nil
	}))
	fleet.Start(service)
	same(t, errors.CodeFor(micro.Publish(t.Context(), publisher, "orders", 1)), errors.CodeInternal)
}

func TestAMessageThatFailsIsDeliveredAgainAndADeadLetterInTheEnd(t *testing.T) {
	fleet, publisher, on := kept(t)
	service := fleet.Service("billing", on)
	attempts, dead := make(chan int, 8), make(chan *broker.Message, 1)
	must(t, micro.Subscribe(service, "orders", func(ctx context.Context, order int) error {
		message, _ := broker.FromContext(ctx)
		attempts <- message.Attempt
		return errors.BadRequest("billing", "order %d has no customer", order)
	}, server.SubscriberQueue("billing"), server.SubscriberMaxAttempts(2), server.SubscriberBackoff("none"),
		server.SubscriberDeadLetters("graves")))
	must(t, micro.Subscribe(service, "graves", func(ctx context.Context, order int) error {
		message, _ := broker.FromContext(ctx)
		dead <- message
		return nil
	}, server.SubscriberQueue("people")))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "orders", 13))
	same(t, one(t, attempts), 1)
	same(t, one(t, attempts), 2)
	letter := one(t, dead)
	same(t, string(letter.Body), "13")
	same(t, letter.Header.Get("micro-dead-topic"), "orders")
	same(t, letter.Header.Get("micro-dead-attempts"), "2")
	same(t, containsText(stderrors.New(letter.Header.Get("micro-dead-reason")), "has no customer"), true)
}

func TestAHandlerSaysWhenToTryAgainAndWhenNot(t *testing.T) {
	fleet, publisher, on := kept(t)
	service := fleet.Service("billing", on)
	attempts, dead := make(chan int, 8), make(chan string, 1)
	must(t, micro.Subscribe(service, "orders", func(ctx context.Context, order int) error {
		message, _ := broker.FromContext(ctx)
		attempts <- message.Attempt
		if message.Attempt == 1 {
			return broker.Retry(time.Millisecond, stderrors.New("not yet"))
		}
		return fmt.Errorf("for good: %w", broker.Reject(stderrors.New("the card was refused")))
	}, server.SubscriberQueue("billing"), server.SubscriberMaxAttempts(100)))
	must(t, micro.Subscribe(service, "orders.dead", func(ctx context.Context, _ []byte) error {
		message, _ := broker.FromContext(ctx)
		dead <- message.Header.Get("micro-dead-reason")
		return nil
	}, server.SubscriberQueue("people")))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "orders", 13))
	same(t, one(t, attempts), 1)
	same(t, one(t, attempts), 2)
	same(t, containsText(stderrors.New(one(t, dead)), "the card was refused"), true)
	same(t, len(attempts), 0)
}

func TestAMessageThatCannotBeReadIsADeadLetterAtOnce(t *testing.T) {
	fleet, publisher, on := kept(t)
	service := fleet.Service("billing", on)
	dead := make(chan *broker.Message, 1)
	must(t, micro.Subscribe(service, "orders", func(context.Context, int) error {
		t.Error("it was handled")
		return nil
	}, server.SubscriberQueue("billing"), server.SubscriberMaxAttempts(100)))
	must(t, micro.Subscribe(service, "orders.dead", func(ctx context.Context, _ []byte) error {
		message, _ := broker.FromContext(ctx)
		dead <- message
		return nil
	}, server.SubscriberQueue("people")))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "orders", "no number"))
	letter := one(t, dead)
	same(t, letter.Header.Get("micro-dead-attempts"), "1")
	same(t, containsText(stderrors.New(letter.Header.Get("micro-dead-reason")), "a message of orders is no int"), true)
}

func TestWrappersAreAroundSubscribersTheFirstOneOutermost(t *testing.T) {
	fleet, publisher, on := topics(t)
	order := make(chan string, 4)
	around := func(name string) server.SubscriberWrapper {
		return func(next server.SubscriberFunc) server.SubscriberFunc {
			return func(ctx context.Context, msg server.Message) error {
				order <- name + " " + msg.Topic() + " " + msg.Header()["tenant"]
				same(t, *msg.Payload().(*int), 7)
				same(t, string(msg.Body()), "7")
				same(t, msg.ContentType(), "application/json")
				return next(ctx, msg)
			}
		}
	}
	service := fleet.Service("billing", on, micro.WrapSubscriber(around("first"), around("second")))
	must(t, micro.Subscribe(service, "orders", func(context.Context, int) error {
		order <- "handler"
		return nil
	}))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "orders", 7, client.PublishMetadata(metadata.Pairs("tenant", "blue"))))
	same(t, one(t, order), "first orders blue")
	same(t, one(t, order), "second orders blue")
	same(t, one(t, order), "handler")
}

func TestWhatAHandlerPublishesIsPartOfWhatItHandles(t *testing.T) {
	fleet, publisher, on := topics(t)
	service := fleet.Service("billing", on)
	traces := make(chan string, 2)
	must(t, micro.Subscribe(service, "orders", func(ctx context.Context, order int) error {
		info, _ := server.Describe(ctx)
		traces <- info.TraceID
		return micro.Publish(ctx, service.Client(), "bills", order)
	}))
	must(t, micro.Subscribe(service, "bills", func(ctx context.Context, order int) error {
		info, _ := server.Describe(ctx)
		traces <- info.TraceID
		return nil
	}))
	fleet.Start(service)
	must(t, micro.Publish(t.Context(), publisher, "orders", 7))
	first := one(t, traces)
	same(t, first != "", true)
	same(t, one(t, traces), first)
}

func TestTheContextOfAHandlerEndsAtItsTimeout(t *testing.T) {
	fleet, publisher, on := topics(t)
	service := fleet.Service("billing", on)
	ended := make(chan error, 1)
	must(t, micro.Subscribe(service, "orders", func(ctx context.Context, _ int) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}, server.SubscriberTimeout(20*time.Millisecond)))
	fleet.Start(service)
	err := micro.Publish(t.Context(), publisher, "orders", 7)
	same(t, containsText(err, "did not end within 20ms"), true)
	same(t, one(t, ended), context.DeadlineExceeded)
}

func TestMessagesAreTakenOneByOneAndSettled(t *testing.T) {
	_, publisher, _ := kept(t)
	taken, err := publisher.Subscribe(t.Context(), "orders", client.SubscribeQueue("billing"), client.SubscribeStart(broker.FromFirst()),
		client.SubscribeMaxAttempts(2), client.SubscribeLease(time.Minute), client.SubscribeMaxInFlight(8))
	must(t, err)
	for order := range 3 {
		must(t, micro.Publish(t.Context(), publisher, "orders", order, client.PublishKey("customer")))
	}
	seen := 0
	for delivery, err := range taken.All() {
		must(t, err)
		var order int
		must(t, delivery.Read(&order))
		same(t, order, min(seen, 2))
		same(t, delivery.Key, "customer")
		same(t, delivery.Sequence > 0, true)
		must(t, delivery.Extend())
		if seen++; seen < 3 {
			must(t, delivery.Ack())
			same(t, errors.Is(delivery.Ack(), errors.ErrStale), true)
			continue
		}
		if seen == 3 {
			must(t, delivery.Retry(time.Millisecond, "not yet"))
			continue
		}
		same(t, delivery.Attempt, 2)
		must(t, delivery.Reject("never"))
		break
	}
	_, err = taken.Next()
	same(t, err, io.EOF)
	dead, err := publisher.Subscribe(t.Context(), "orders.dead", client.SubscribeStart(broker.FromFirst()))
	must(t, err)
	letter, err := dead.Next()
	must(t, err)
	same(t, letter.Header.Get("micro-dead-reason"), "never")
	must(t, letter.Ack())
	dead.Close()
}

func TestWhatWasNotSettledIsDeliveredAgainOnceItsSubscriptionIsOver(t *testing.T) {
	_, publisher, _ := kept(t)
	subscribe := func() *client.Subscription {
		taken, err := publisher.Subscribe(t.Context(), "orders", client.SubscribeQueue("billing"))
		must(t, err)
		return taken
	}
	first := subscribe()
	must(t, micro.Publish(t.Context(), publisher, "orders", 7))
	delivery, err := first.Next()
	must(t, err)
	first.Close()
	second := subscribe()
	defer second.Close()
	again, err := second.Next()
	must(t, err)
	same(t, string(again.Body), "7")
	same(t, again.Attempt, 2)
	must(t, again.Ack())
	same(t, errors.Is(delivery.Ack(), errors.ErrStale), true)
}

func TestASubscriptionEndsWithItsContextAndItsClient(t *testing.T) {
	fleet, publisher, _ := topics(t)
	ctx, cancel := context.WithCancel(t.Context())
	taken, err := publisher.Subscribe(ctx, "orders")
	must(t, err)
	waited := make(chan error, 1)
	go func() {
		_, err := taken.Next()
		waited <- err
	}()
	cancel()
	same(t, errors.CodeFor(one(t, waited)), errors.CodeCanceled)
	other := fleet.Client(client.Broker(fleet.URL()))
	taken, err = other.Subscribe(t.Context(), "orders")
	must(t, err)
	go func() {
		_, err := taken.Next()
		waited <- err
	}()
	must(t, other.Close())
	same(t, one(t, waited), io.EOF)
}

func TestADelayAnExpiryAnIdAndAPriority(t *testing.T) {
	_, publisher, _ := kept(t)
	publish := func(order int, opts ...client.PublishOption) {
		t.Helper()
		must(t, micro.Publish(t.Context(), publisher, "orders", order, opts...))
	}
	publish(1, client.PublishExpiry(time.Nanosecond))
	publish(2, client.PublishDelay(50*time.Millisecond))
	publish(3, client.PublishId("three"))
	publish(3, client.PublishId("three"))
	publish(4, client.PublishPriority(9))
	taken, err := publisher.Subscribe(t.Context(), "orders", client.SubscribeQueue("billing"), client.SubscribeStart(broker.FromFirst()),
		client.SubscribeMaxInFlight(1))
	must(t, err)
	defer taken.Close()
	var orders []string
	for len(orders) < 3 {
		delivery, err := taken.Next()
		must(t, err)
		orders = append(orders, string(delivery.Body))
		must(t, delivery.Ack())
	}
	same(t, fmt.Sprint(orders), "[4 3 2]")
}

func TestWhatABrokerCannotDoAndWhatIsWrongIsToldByName(t *testing.T) {
	fleet, publisher, on := topics(t)
	says := func(err error, code errors.Code, text string) {
		t.Helper()
		same(t, errors.CodeFor(err), code)
		if !containsText(err, text) {
			t.Errorf("%v does not say %q", err, text)
		}
	}
	says(micro.Publish(t.Context(), publisher, "orders", 7, client.PublishDelay(time.Minute)), errors.CodeInvalidArgument, "durable://")
	says(micro.Publish(t.Context(), publisher, "orders", 7, client.PublishDocument(`{"delays": 1}`)), errors.CodeInvalidArgument, "did you mean `delay`?")
	says(micro.Publish(t.Context(), publisher, "", 7), errors.CodeInvalidArgument, "topic")
	says(micro.Publish(t.Context(), publisher, "orders", make(chan int)), errors.CodeInvalidArgument, "the message is chan int")
	_, err := publisher.Subscribe(t.Context(), "orders", client.SubscribeStart(broker.FromFirst()))
	says(err, errors.CodeInvalidArgument, "start")
	service := fleet.Service("billing", on)
	says(micro.RegisterSubscriber("orders", service.Server(), func() {}), errors.CodeInvalidArgument, "func(context.Context, *Message) error")
	must(t, micro.Subscribe(service, "orders", func(context.Context, int) error { return nil }, server.SubscriberDocument(`{"queues": 1}`)))
	says(service.Start(), errors.CodeInvalidArgument, "did you mean `queue`?")
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	says(micro.Publish(stopped, publisher, "orders", 7), errors.CodeCanceled, "")
}

func TestAStopWaitsForTheHandlersOfMessages(t *testing.T) {
	fleet, publisher, on := topics(t)
	begun, goOn, published := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	service := fleet.Service("billing", on, micro.BeforeStop(func() error {
		close(goOn)
		return nil
	}))
	var handled atomic.Bool
	must(t, micro.Subscribe(service, "orders", func(context.Context, int) error {
		close(begun)
		<-goOn
		// A stop that does not wait is over by then.
		time.Sleep(50 * time.Millisecond)
		handled.Store(true)
		return nil
	}))
	fleet.Start(service)
	go func() { published <- micro.Publish(context.Background(), publisher, "orders", 7) }()
	one(t, begun)
	must(t, service.Stop())
	same(t, handled.Load(), true)
	must(t, one(t, published))
}

func containsText(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}
