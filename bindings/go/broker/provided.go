package broker

import (
	"context"
	"iter"
	"time"

	"github.com/micro/micro/bindings/go/internal/native"
)

// Ability is what a broker can do, several of them by |.
type Ability uint32

const (
	// Redelivers what was not acknowledged.
	Redelivers Ability = native.AbleRedelivers
	// Persists messages beyond the end of every process.
	Persists Ability = native.AblePersists
	// Replays older messages where a subscription starts with them.
	Replays Ability = native.AbleReplays
	// Delays messages for a time.
	Delays Ability = native.AbleDelays
	// OrdersByKey delivers messages of one key one after the other.
	OrdersByKey Ability = native.AbleOrdersByKey
	// Expires messages which are of no use after a time.
	Expires Ability = native.AbleExpires
	// Deduplicates messages that are published again with the same id.
	Deduplicates Ability = native.AbleDeduplicates
	// Prioritizes messages of a higher priority.
	Prioritizes Ability = native.AblePrioritizes
)

// Broker is one written in Go: what micro.ProvideBroker takes. Its methods may be called at the same time, and end with their
// context. What they return reaches the caller as what a handler returns does. What a message or a subscription asks for beyond
// its abilities is refused before they are called.
type Broker interface {
	// Abilities are asked for once.
	Abilities() Ability
	// Publish takes a message, and returns once that is as safe as the broker makes messages.
	Publish(ctx context.Context, message *Message) error
	// Subscribe is the messages of a topic, never more than MaxInFlight of them unsettled. The subscription stands when it has
	// returned. The messages are ranged over once, until the context is done, when the sequence has to end; what is not settled
	// by then is another's. An error ends them.
	Subscribe(ctx context.Context, asked *Subscription) (iter.Seq2[*Lent, error], error)
}

// Subscription is what a subscriber asks of a broker.
type Subscription struct {
	Topic string
	// Queue shares messages among its subscriptions; empty where each gets all.
	Queue       string
	Start       Start
	MaxInFlight int
	MaxAttempts int
	Lease       time.Duration
	// DeadLetters is the topic of messages that were delivered too often or rejected.
	DeadLetters string
}

// Lent is a message that a broker delivers: its Attempt, Sequence and Published are told too.
type Lent struct {
	Message *Message
	// Settle is told what became of it; the context is that of the subscription. What it returns, the consumer is told.
	Settle func(ctx context.Context, outcome Outcome) error
}

// Outcome is what became of a message.
type Outcome struct {
	Kind OutcomeKind
	// After is how long a message that is to be delivered again waits.
	After time.Duration
	// Reason is for those who read dead letters.
	Reason string
}

// OutcomeKind is a kind of it.
type OutcomeKind string

const (
	// Acked says that it was handled.
	Acked OutcomeKind = "ack"
	// Retried is to be delivered again.
	Retried OutcomeKind = "retry"
	// Rejected is a dead letter.
	Rejected OutcomeKind = "reject"
	// Extended is still being handled: its lease begins anew.
	Extended OutcomeKind = "extend"
)

// First says that a subscription starts with the oldest message that is kept.
func (s Start) First() bool { return s.value == "first" }

// Sequence is the number that it starts with, where it does with one.
func (s Start) Sequence() (uint64, bool) {
	found, ok := s.part("sequence").(uint64)
	return found, ok
}

// Time is what it starts with, where it does with one.
func (s Start) Time() (time.Time, bool) {
	millis, ok := s.part("time").(int64)
	return time.UnixMilli(millis), ok
}

func (s Start) part(name string) any {
	parts, _ := s.value.(map[string]any)
	return parts[name]
}
