package micro_test

import (
	"context"
	stderrors "errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/microtest"
	"github.com/micro/micro/bindings/go/server"
)

// member is a subscription, and the messages that wait for it.
type member struct {
	asked    *broker.Subscription
	messages chan *broker.Message
}

// queues is a broker in memory, which delivers again.
type queues struct {
	lock      sync.Mutex
	members   []*member
	outcomes  []broker.Outcome
	published []*broker.Message
}

func (q *queues) Abilities() broker.Ability { return broker.Redelivers | broker.Expires }

func (q *queues) Publish(_ context.Context, message *broker.Message) error {
	if string(message.Body) == `"full"` {
		return errors.Newf(errors.CodeResourceExhausted, "queues", "no room for it")
	}
	q.lock.Lock()
	defer q.lock.Unlock()
	q.publish(message)
	return nil
}

func (q *queues) publish(message *broker.Message) {
	q.published = append(q.published, message)
	served := map[string]bool{}
	for _, one := range q.members {
		if queue := one.asked.Queue; one.asked.Topic == message.Topic && !served[queue] {
			served[queue] = queue != ""
			one.messages <- message
		}
	}
}

func (q *queues) Subscribe(ctx context.Context, asked *broker.Subscription) (iter.Seq2[*broker.Lent, error], error) {
	one := &member{asked, make(chan *broker.Message, 64)}
	q.lock.Lock()
	defer q.lock.Unlock()
	q.members = append(q.members, one)
	return func(yield func(*broker.Lent, error) bool) {
		defer q.leave(one)
		for {
			select {
			case <-ctx.Done():
				return
			case message := <-one.messages:
				lent := *message
				lent.Attempt, lent.Published = max(1, lent.Attempt), time.Now()
				settle := func(_ context.Context, outcome broker.Outcome) error { return q.settle(one, &lent, outcome) }
				if !yield(&broker.Lent{Message: &lent, Settle: settle}, nil) {
					return
				}
			}
		}
	}, nil
}

func (q *queues) leave(one *member) {
	q.lock.Lock()
	defer q.lock.Unlock()
	q.members = slices.DeleteFunc(q.members, func(other *member) bool { return other == one })
}

func (q *queues) count() int {
	q.lock.Lock()
	defer q.lock.Unlock()
	return len(q.members)
}

func (q *queues) settle(one *member, lent *broker.Message, outcome broker.Outcome) error {
	q.lock.Lock()
	defer q.lock.Unlock()
	q.outcomes = append(q.outcomes, outcome)
	again := *lent
	switch {
	case outcome.Kind == broker.Retried && lent.Attempt < one.asked.MaxAttempts:
		again.Attempt++
		time.AfterFunc(outcome.After, func() { one.messages <- &again })
	case outcome.Kind == broker.Retried, outcome.Kind == broker.Rejected:
		again.Topic, again.Header, again.Attempt = one.asked.DeadLetters, metadata.Pairs("why", outcome.Reason), 0
		q.publish(&again)
	case outcome.Kind == broker.Acked && string(lent.Body) == `"unsettled"`:
		return stderrors.New("the disk is full")
	case outcome.Kind == broker.Acked && string(lent.Body) == `"panics"`:
		panic("a secret")
	}
	return nil
}

// provided is a broker that is provided for one test.
func provided(t *testing.T, name string, given broker.Broker) *micro.Provided {
	t.Helper()
	made, err := micro.ProvideBroker(name, given)
	must(t, err)
	t.Cleanup(func() { must(t, made.Close()) })
	return made
}

type order struct {
	Number int `json:"number"`
}

type handled struct {
	number, attempt int
	tenant          string
}

func TestServicesAndClientsUseABrokerInGoByItsURL(t *testing.T) {
	given := new(queues)
	own := provided(t, "queues", given)
	fleet := microtest.New(t)
	seen, dead := make(chan handled, 8), make(chan string, 8)
	service := fleet.Service("billing", micro.Broker(own.URL()))
	must(t, micro.Subscribe(service, "orders", func(ctx context.Context, order order) error {
		message, _ := broker.FromContext(ctx)
		seen <- handled{order.Number, message.Attempt, message.Header.Get("tenant")}
		if order.Number == 13 {
			return errors.Conflict("billing", "the card was refused")
		}
		return nil
	}, server.SubscriberQueue("billing"), server.SubscriberMaxAttempts(2), server.SubscriberBackoff("none")))
	must(t, micro.Subscribe(service, "orders.dead", func(ctx context.Context, _ order) error {
		message, _ := broker.FromContext(ctx)
		dead <- message.Header.Get("why")
		return nil
	}))
	fleet.Start(service)
	publisher := fleet.Client(client.Broker(own.URL()))
	along := metadata.Pairs("tenant", "blue", "key-bin", "\x00\xff")
	must(t, micro.Publish(t.Context(), publisher, "orders", order{7}, client.PublishExpiry(time.Minute), client.PublishMetadata(along)))
	same(t, one(t, seen), handled{7, 1, "blue"})
	given.lock.Lock()
	kept := given.published[0]
	given.lock.Unlock()
	same(t, kept.Topic, "orders")
	same(t, string(kept.Body), `{"number":7}`)
	same(t, kept.ContentType, "application/json")
	same(t, kept.Header.Get("key-bin"), "\x00\xff")
	same(t, kept.Header.Get("micro-args-bin"), "")
	same(t, kept.Expires.After(time.Now()), true)
	same(t, kept.Due.IsZero(), true)
	must(t, micro.Publish(t.Context(), publisher, "orders", order{13}, client.PublishMetadata(metadata.Pairs("tenant", "red"))))
	same(t, one(t, seen), handled{13, 1, "red"})
	same(t, one(t, seen), handled{13, 2, "red"})
	same(t, strings.Contains(one(t, dead), "the card was refused"), true)
	must(t, service.Stop())
	eventually(t, func() bool { return given.count() == 0 })
}

func TestWhatABrokerInGoReturnsReachesThePublisherAndWhatItCannotDoIsRefused(t *testing.T) {
	own := provided(t, "refusing", new(queues))
	fleet := microtest.New(t)
	publisher := fleet.Client(client.Broker(own.URL()))
	err := micro.Publish(t.Context(), publisher, "orders", "full")
	same(t, errors.CodeFor(err), errors.CodeResourceExhausted)
	same(t, containsText(err, "no room for it"), true)
	err = micro.Publish(t.Context(), publisher, "orders", 7, client.PublishDelay(time.Second))
	same(t, containsText(err, "does not know a delay"), true)
	_, err = publisher.Subscribe(t.Context(), "orders", client.SubscribeStart(broker.FromFirst()))
	same(t, containsText(err, "leave out `start`"), true)
	must(t, own.Close())
	err = micro.Publish(t.Context(), fleet.Client(client.Broker(own.URL())), "orders", 7)
	same(t, containsText(err, "provide it first"), true)
}

func TestAFailureOfABrokerInGoToSettleIsToldAndTheSubscriptionGoesOn(t *testing.T) {
	given := new(queues)
	own := provided(t, "failing", given)
	publisher := microtest.New(t).Client(client.Broker(own.URL()))
	orders, err := publisher.Subscribe(t.Context(), "orders")
	must(t, err)
	next := func() *broker.Delivery {
		t.Helper()
		delivery, err := orders.Next()
		must(t, err)
		return delivery
	}
	for _, text := range []string{"unsettled", "panics"} {
		must(t, micro.Publish(t.Context(), publisher, "orders", text))
		must(t, next().Ack())
	}
	must(t, micro.Publish(t.Context(), publisher, "orders", "next"))
	delivery := next()
	same(t, string(delivery.Body), `"next"`)
	must(t, delivery.Extend())
	must(t, delivery.Retry(10*time.Millisecond, "later"))
	again := next()
	same(t, again.Attempt, 2)
	must(t, again.Ack())
	orders.Close()
	eventually(t, func() bool { return given.count() == 0 })
	given.lock.Lock()
	defer given.lock.Unlock()
	same(t, slices.Contains(given.outcomes, broker.Outcome{Kind: broker.Extended}), true)
	same(t, slices.Contains(given.outcomes, broker.Outcome{Kind: broker.Retried, After: 10 * time.Millisecond, Reason: "later"}), true)
}

// slow takes no message before its publisher has left.
type slow struct {
	queues
	left chan error
}

func (s *slow) Publish(ctx context.Context, _ *broker.Message) error {
	<-ctx.Done()
	s.left <- ctx.Err()
	return ctx.Err()
}

func TestABrokerInGoHearsOfAPublisherThatGivesUp(t *testing.T) {
	given := &slow{left: make(chan error, 1)}
	own := provided(t, "slow", given)
	publisher := microtest.New(t).Client(client.Broker(own.URL()))
	err := micro.Publish(t.Context(), publisher, "orders", 7, client.PublishTimeout(50*time.Millisecond))
	same(t, errors.CodeFor(err), errors.CodeDeadlineExceeded)
	if one(t, given.left) == nil {
		t.Error("its context goes on")
	}
}

// odd breaks the rules at first.
type odd struct {
	queues
	turns int
}

func (o *odd) Subscribe(ctx context.Context, asked *broker.Subscription) (iter.Seq2[*broker.Lent, error], error) {
	o.turns++
	switch o.turns {
	case 1:
		panic("a secret")
	case 2:
		return func(yield func(*broker.Lent, error) bool) { yield(&broker.Lent{}, nil) }, nil
	case 3:
		return func(yield func(*broker.Lent, error) bool) { yield(nil, stderrors.New("cut off")) }, nil
	}
	return o.queues.Subscribe(ctx, asked)
}

func TestASubscriptionOfABrokerInGoThatBreaksOffIsMadeAgain(t *testing.T) {
	given := new(odd)
	own := provided(t, "odd", given)
	publisher := microtest.New(t).Client(client.Broker(own.URL()))
	orders, err := publisher.Subscribe(t.Context(), "orders")
	must(t, err)
	defer orders.Close()
	got := make(chan *broker.Delivery, 1)
	go func() {
		if delivery, err := orders.Next(); err == nil {
			got <- delivery
		}
	}()
	eventually(t, func() bool { return given.count() == 1 })
	same(t, given.turns, 4)
	must(t, micro.Publish(t.Context(), publisher, "orders", 7))
	same(t, string(one(t, got).Body), "7")
}

type able struct {
	queues
	abilities broker.Ability
}

func (a *able) Abilities() broker.Ability { return a.abilities }

func TestAbilitiesOfABrokerInGoThatAreNoneAndItsNameTwiceAreRefused(t *testing.T) {
	_, err := micro.ProvideBroker("able", &able{abilities: 1 << 20})
	same(t, errors.CodeFor(err), errors.CodeInvalidArgument)
	provided(t, "able", &able{abilities: broker.Redelivers})
	_, err = micro.ProvideBroker("able", new(queues))
	same(t, errors.CodeFor(err), errors.CodeAlreadyExists)
}

func TestABrokerInGoIsToldWhereSubscriptionsStart(t *testing.T) {
	given := &starts{asked: make(chan *broker.Subscription, 4)}
	own := provided(t, "starts", given)
	reader := microtest.New(t).Client(client.Broker(own.URL()))
	at := time.UnixMilli(1_700_000_000_123)
	for _, start := range []broker.Start{broker.FromNew(), broker.FromFirst(), broker.FromSequence(1<<53 + 1), broker.FromTime(at)} {
		orders, err := reader.Subscribe(t.Context(), "orders", client.SubscribeStart(start))
		must(t, err)
		orders.Close()
		asked := one(t, given.asked).Start
		same(t, asked.First(), start.First())
		number, numbered := asked.Sequence()
		expected, is := start.Sequence()
		same(t, [2]any{number, numbered}, [2]any{expected, is})
		moment, timed := asked.Time()
		if _, is := start.Time(); timed != is || is && !moment.Equal(at) {
			t.Errorf("%v instead of %v", moment, at)
		}
	}
	eventually(t, func() bool { return given.count() == 0 && native.Live(6) == 0 })
}

// terms lends one message, and keeps what it is told.
type terms struct {
	queues
	asked chan *broker.Subscription
	lent  broker.Message
}

func (o *terms) Abilities() broker.Ability {
	return broker.Redelivers | broker.Replays | broker.Delays | broker.OrdersByKey | broker.Expires | broker.Deduplicates | broker.Prioritizes
}

func (o *terms) Subscribe(ctx context.Context, asked *broker.Subscription) (iter.Seq2[*broker.Lent, error], error) {
	o.asked <- asked
	return func(yield func(*broker.Lent, error) bool) {
		settle := func(context.Context, broker.Outcome) error { return nil }
		if yield(&broker.Lent{Message: &o.lent, Settle: settle}, nil) {
			<-ctx.Done()
		}
	}, nil
}

func TestABrokerInGoIsToldAllTermsAndConsumersAllThatItKnows(t *testing.T) {
	published := time.UnixMilli(1_700_000_000_123)
	given := &terms{asked: make(chan *broker.Subscription, 1), lent: broker.Message{
		Header: metadata.Pairs("tags", "a", "tags", "b", "raw-bin", "\x00\xff"), ContentType: "application/json", Body: []byte(`"kept"`),
		Attempt: 4, Sequence: 70, Published: published, Key: "k", Id: "i", Priority: 3,
	}}
	own := provided(t, "terms", given)
	both := microtest.New(t).Client(client.Broker(own.URL()))
	before := time.Now()
	must(t, micro.Publish(t.Context(), both, "orders", 7, client.PublishKey("k"), client.PublishId("i"), client.PublishPriority(9),
		client.PublishDelay(time.Minute), client.PublishExpiry(2*time.Minute)))
	told := given.published[0]
	same(t, [3]any{told.Key, told.Id, told.Priority}, [3]any{"k", "i", 9})
	same(t, told.Due.Sub(before) > 59*time.Second && told.Expires.Sub(told.Due) > 59*time.Second, true)
	orders, err := both.Subscribe(t.Context(), "orders", client.SubscribeQueue("q"), client.SubscribeMaxInFlight(2),
		client.SubscribeMaxAttempts(3), client.SubscribeLease(1500*time.Millisecond), client.SubscribeDeadLetters("graves"))
	must(t, err)
	defer orders.Close()
	same(t, *one(t, given.asked), broker.Subscription{
		Topic: "orders", Queue: "q", Start: broker.FromNew(), MaxInFlight: 2, MaxAttempts: 3, Lease: 1500 * time.Millisecond, DeadLetters: "graves",
	})
	delivery, err := orders.Next()
	must(t, err)
	same(t, [4]any{delivery.Attempt, delivery.Sequence, delivery.Key, delivery.Id}, [4]any{4, uint64(70), "k", "i"})
	same(t, delivery.Priority, 3)
	same(t, delivery.Published.Equal(published), true)
	same(t, slices.Equal(delivery.Header.Values("tags"), []string{"a", "b"}), true)
	same(t, delivery.Header.Get("raw-bin"), "\x00\xff")
	var text string
	must(t, delivery.Read(&text))
	same(t, text, "kept")
	must(t, delivery.Ack())
}

type starts struct {
	queues
	asked chan *broker.Subscription
}

func (s *starts) Abilities() broker.Ability { return broker.Redelivers | broker.Replays }

func (s *starts) Subscribe(ctx context.Context, asked *broker.Subscription) (iter.Seq2[*broker.Lent, error], error) {
	s.asked <- asked
	return s.queues.Subscribe(ctx, asked)
}
