package micro

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
)

// ProvideBroker makes "host://name" the URL of a broker of the program's own, for services and clients of this process. A name has
// letters, digits, "-", "_" and "."; CodeAlreadyExists for one that is taken, CodeInvalidArgument for abilities that are none.
func ProvideBroker(name string, given broker.Broker) (*Provided, error) {
	made := &Provided{name: name, what: "broker", streams: native.BrokerSubscribe}
	made.answers = func(ctx context.Context, call *native.Inbound) ([]byte, error) {
		switch call.Method {
		case native.BrokerSubscribe:
			return nil, lend(ctx, made, given, call)
		case native.ProvidedPublish:
			return nil, take(ctx, given, call)
		}
		return nil, unknown(call)
	}
	return made.provide(native.AreaBroker | uint32(given.Abilities()))
}

// take has a broker take a message.
func take(ctx context.Context, given broker.Broker, call *native.Inbound) error {
	var args struct {
		Topic    string `json:"topic"`
		Type     string `json:"type"`
		Key      string `json:"key"`
		Id       string `json:"id"`
		Priority int    `json:"priority"`
		Due      *int64 `json:"due"`
		Expires  *int64 `json:"expires"`
	}
	headers, err := asked(call, &args)
	if err != nil {
		return err
	}
	return given.Publish(ctx, &broker.Message{
		Topic: args.Topic, Header: metadata.FromEntries(headers), ContentType: args.Type, Body: call.Payload, Key: args.Key,
		Id: args.Id, Priority: args.Priority, Due: moment(args.Due), Expires: moment(args.Expires),
	})
}

func moment(millis *int64) time.Time {
	if millis == nil {
		return time.Time{}
	}
	return time.UnixMilli(*millis)
}

// lending is a subscription: messages that are out, by number.
type lending struct {
	provided *Provided
	stream   *native.Stream
	sending  sync.Mutex

	lock sync.Mutex
	out  map[uint64]*broker.Lent
}

// lend has a broker lend messages, until no more are wanted.
func lend(ctx context.Context, provided *Provided, given broker.Broker, call *native.Inbound) error {
	wanted, err := subscription(call)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := given.Subscribe(ctx, wanted)
	if err != nil {
		return err
	}
	one := &lending{provided: provided, stream: call.Stream(), out: map[uint64]*broker.Lent{}}
	// Says that the subscription stands.
	if err := one.send(nil); err != nil {
		return err
	}
	call.Begin()
	go func() {
		one.listen(ctx)
		// Nothing is said any more, so nothing is read either.
		cancel()
	}()
	return one.tell(messages)
}

func (l *lending) tell(messages iter.Seq2[*broker.Lent, error]) error {
	var number uint64
	for lent, err := range messages {
		if err != nil {
			return err
		}
		if lent == nil || lent.Message == nil || lent.Settle == nil {
			return errors.Newf(errors.CodeInternal, "micro", "%s lent what is no message: give Message and Settle", l.provided.URL())
		}
		number++
		l.lock.Lock()
		l.out[number] = lent
		l.lock.Unlock()
		if err := l.send(headed(head(number, lent.Message), lent.Message.Body)); err != nil {
			return err
		}
	}
	return nil
}

// send sends a message of the subscription. What is delivered and what is answered to verdicts take turns.
func (l *lending) send(message []byte) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if failure := l.stream.Send(message); failure != nil {
		return errors.FromNative(failure, nil)
	}
	return nil
}

// listen tells the broker what became of its messages, one after the other.
func (l *lending) listen(ctx context.Context) {
	for {
		received, ok := l.stream.Next()
		if !ok {
			return
		}
		var said struct {
			Delivery uint64             `json:"delivery"`
			Verdict  broker.OutcomeKind `json:"verdict"`
			Delay    float64            `json:"delay"`
			Reason   string             `json:"reason"`
		}
		if err := json.Unmarshal(received.Payload, &said); err != nil {
			slog.Error("a verdict cannot be read", "broker", l.provided.URL(), "error", err)
			continue
		}
		l.lock.Lock()
		lent := l.out[said.Delivery]
		if said.Verdict != broker.Extended {
			delete(l.out, said.Delivery)
		}
		l.lock.Unlock()
		if lent == nil {
			continue
		}
		answer := map[string]any{"settled": said.Delivery}
		after := time.Duration(said.Delay * float64(time.Millisecond))
		if err := l.settle(ctx, lent, broker.Outcome{Kind: said.Verdict, After: after, Reason: said.Reason}); err != nil {
			slog.Warn("a message could not be settled", "broker", l.provided.URL(), "error", err)
			answer["error"] = err.Error()
		}
		if said.Verdict != broker.Extended && l.send(headed(answer, nil)) != nil {
			return
		}
	}
}

func (l *lending) settle(ctx context.Context, lent *broker.Lent, outcome broker.Outcome) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			slog.Error("a broker panicked", "broker", l.provided.URL(), "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			err = l.provided.panicked()
		}
	}()
	return lent.Settle(ctx, outcome)
}

func subscription(call *native.Inbound) (*broker.Subscription, error) {
	var args struct {
		Topic       string          `json:"topic"`
		Queue       string          `json:"queue"`
		Start       json.RawMessage `json:"start"`
		MaxInFlight int             `json:"max_in_flight"`
		MaxAttempts int             `json:"max_attempts"`
		Lease       int64           `json:"lease"`
		DeadLetters string          `json:"dead_letters"`
	}
	if _, err := asked(call, &args); err != nil {
		return nil, err
	}
	start := broker.FromNew()
	var since struct {
		Sequence *uint64 `json:"sequence"`
		Time     *int64  `json:"time"`
	}
	switch {
	case string(args.Start) == `"first"`:
		start = broker.FromFirst()
	case json.Unmarshal(args.Start, &since) != nil:
	case since.Sequence != nil:
		start = broker.FromSequence(*since.Sequence)
	case since.Time != nil:
		start = broker.FromTime(time.UnixMilli(*since.Time))
	}
	if args.DeadLetters == "" {
		args.DeadLetters = args.Topic + ".dead"
	}
	return &broker.Subscription{
		Topic: args.Topic, Queue: args.Queue, Start: start, MaxInFlight: args.MaxInFlight, MaxAttempts: args.MaxAttempts,
		Lease: time.Duration(args.Lease) * time.Millisecond, DeadLetters: args.DeadLetters,
	}, nil
}

// head is what is told of a message before its body.
func head(delivery uint64, message *broker.Message) map[string]any {
	headers := make(map[string][]string, len(message.Header))
	for name, values := range message.Header {
		name = strings.ToLower(name)
		for _, value := range values {
			if strings.HasSuffix(name, "-bin") {
				value = base64.StdEncoding.EncodeToString([]byte(value))
			}
			headers[name] = append(headers[name], value)
		}
	}
	made := map[string]any{
		"delivery": delivery, "attempt": max(1, message.Attempt), "priority": message.Priority, "headers": headers,
	}
	if message.Sequence != 0 {
		made["sequence"] = message.Sequence
	}
	if !message.Published.IsZero() {
		made["published"] = message.Published.UnixMilli()
	}
	for name, value := range map[string]string{"type": message.ContentType, "key": message.Key, "id": message.Id} {
		if value != "" {
			made[name] = value
		}
	}
	return made
}

// headed is a head in JSON behind its length, and then a body.
func headed(head map[string]any, body []byte) []byte {
	text, err := json.Marshal(head)
	if err != nil {
		// Numbers and text alone: what is no UTF-8 is replaced.
		panic(err)
	}
	made := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(text)+len(body)), uint32(len(text)))
	return append(append(made, text...), body...)
}
