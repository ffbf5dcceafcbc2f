// Package broker has the messages of topics: what is known of each, and what may be said of it.
package broker

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
)

// Message is one of a topic, and what its broker knows of it.
type Message struct {
	Topic string
	// Header is what its publisher sent along.
	Header metadata.MD
	// ContentType says how the body is written; empty where its publisher did not.
	ContentType string
	Body        []byte
	// Attempt is how often it was delivered, this time included.
	Attempt int
	// Sequence is its number, where the broker keeps messages; 0 where it does not.
	Sequence  uint64
	Published time.Time
	// Key is that of messages which are handled one after the other; empty where it has none.
	Key string
	// Id is what its publisher named it; empty where it did not.
	Id string
	// Priority is 0 to 9.
	Priority int
	// Due and Expires are of a message that a broker takes: it is not delivered before the one and after the other; zero where
	// it says nothing.
	Due, Expires time.Time
	codec        uint32
}

// NewMessage makes one of what the library tells of it. For the packages of this module.
func NewMessage(payload, meta []byte, flags uint32) *Message {
	headers, facts := native.ReadMeta(meta)
	made := &Message{Header: metadata.FromEntries(headers), Body: payload, codec: flags & native.CodecMask}
	for _, fact := range facts {
		switch fact.Name {
		case "topic":
			made.Topic = fact.Value
		case "type":
			made.ContentType = fact.Value
		case "key":
			made.Key = fact.Value
		case "id":
			made.Id = fact.Value
		case "priority":
			made.Priority, _ = strconv.Atoi(fact.Value)
		case "attempt":
			made.Attempt, _ = strconv.Atoi(fact.Value)
		case "sequence":
			made.Sequence, _ = strconv.ParseUint(fact.Value, 10, 64)
		case "published":
			millis, _ := strconv.ParseInt(fact.Value, 10, 64)
			made.Published = time.UnixMilli(millis)
		}
	}
	return made
}

// Read reads the body into what `into` points to, by its content type. CodeInvalidArgument where it is nothing of the kind.
func (m *Message) Read(into any) error {
	return codec.Decode(m.Body, m.codec, into, "a message of "+m.Topic, errors.CodeInvalidArgument)
}

// Key is what a context answers with the Message that is handled. For the packages of this module.
type Key struct{}

// FromContext is the message that is being handled; false where the context is of none.
func FromContext(ctx context.Context) (*Message, bool) {
	found, ok := ctx.Value(Key{}).(*Message)
	return found, ok && found != nil
}

// Delivery is a message that was taken from a subscription. It is the program's until it says what became of it, or the
// subscription ends: then it is delivered again, where the broker can.
type Delivery struct {
	Message
	settle func(verdict uint32, after time.Duration, reason string) error
}

// NewDelivery makes one. For the packages of this module.
func NewDelivery(message *Message, settle func(verdict uint32, after time.Duration, reason string) error) *Delivery {
	return &Delivery{*message, settle}
}

// Ack says that it was handled. Here and below, errors.ErrStale where something was said of it before, or its subscription has ended.
func (d *Delivery) Ack() error { return d.settle(native.Ack, 0, "") }

// Retry has it delivered again after a time, unless that was tried too often already. The reason is for those who read dead letters.
func (d *Delivery) Retry(after time.Duration, reason string) error {
	return d.settle(native.Retry, after, reason)
}

// Reject makes it a dead letter.
func (d *Delivery) Reject(reason string) error { return d.settle(native.Reject, 0, reason) }

// Extend says that it is still being handled: its lease begins anew.
func (d *Delivery) Extend() error { return d.settle(native.Extend, 0, "") }

// Verdict is what a handler of messages returns to say more than that it failed.
type Verdict struct {
	reason error
	after  time.Duration
	dead   bool
}

// Retry has the message delivered again after a time, unless that was tried too often already. The reason may be nil.
func Retry(after time.Duration, reason error) error { return &Verdict{reason: reason, after: after} }

// Reject makes the message a dead letter. The reason may be nil.
func Reject(reason error) error { return &Verdict{reason: reason, dead: true} }

func (v *Verdict) Error() string {
	if v.dead {
		return "rejected: " + v.Reason()
	}
	return fmt.Sprintf("to be handled again in %s: %s", v.after, v.Reason())
}

func (v *Verdict) Unwrap() error { return v.reason }

// Reason is that of the dead letter.
func (v *Verdict) Reason() string {
	if v.reason == nil {
		return "its handler gave no reason"
	}
	return v.reason.Error()
}

// Told is what the library is told. For the packages of this module.
func (v *Verdict) Told() (verdict uint32, after time.Duration) {
	if v.dead {
		return native.Reject, 0
	}
	return native.Retry, v.after
}

// Start is where a queue that is new begins, or a subscription without one.
type Start struct{ value any }

// Document is for the packages of this module: what the core reads.
func (s Start) Document() any { return s.value }

// FromNew begins with what is published from now on, as is done unless it is said.
func FromNew() Start { return Start{"new"} }

// FromFirst begins with the oldest message that is kept.
func FromFirst() Start { return Start{"first"} }

// FromSequence begins with a number.
func FromSequence(sequence uint64) Start { return Start{map[string]any{"sequence": sequence}} }

// FromTime begins with what was published at a time or after it.
func FromTime(at time.Time) Start { return Start{map[string]any{"time": at.UnixMilli()}} }
