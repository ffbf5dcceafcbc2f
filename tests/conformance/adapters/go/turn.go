package main

import (
	"cmp"
	"context"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/server"
)

// turn is one call being handled.
type turn struct {
	host     *host
	service  micro.Service
	tag      string
	ctx      context.Context
	payload  []byte
	receive  func() ([]byte, error)
	send     func([]byte) error
	plan     []field
	key      *key
	keyName  string
	received int
}

func newTurn(h *host, service micro.Service, tag string, ctx context.Context, payload []byte) *turn {
	made := &turn{host: h, service: service, tag: tag, ctx: ctx, payload: payload}
	came, _ := metadata.FromIncoming(ctx)
	for _, action := range strings.Split(came.Get("do"), ";") {
		name, value, _ := strings.Cut(action, "=")
		if name != "" {
			made.plan = append(made.plan, field{name, unescape(value)})
		}
	}
	return made
}

func (t *turn) event(name string) { tell("event", field{"name", name}, field{"key", t.keyName}) }

// run runs the plan, then takes the messages that are left; gives the reply.
func (t *turn) run(echo bool) ([]byte, error) {
	t.first()
	err := t.act()
	if err == nil {
		err = t.rest(echo)
	}
	if err != nil && t.ctx.Err() != nil && t.key != nil {
		t.key.counted("cancelled")
		t.event("cancelled")
	}
	return t.payload, err
}

func (t *turn) first() {
	for _, action := range t.plan {
		switch {
		case strings.HasPrefix(action.name, "header."):
			name := strings.TrimPrefix(action.name, "header.")
			server.SetHeader(t.ctx, name, decoded(name, action.value))
		case action.name == "tag":
			server.SetHeader(t.ctx, "tag", t.tag)
		case action.name == "key":
			t.key, t.keyName = t.host.key(action.value), action.value
		}
	}
}

// rest takes the messages that are left.
func (t *turn) rest(echo bool) error {
	for t.receive != nil {
		message, err := t.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if echo {
			if err := t.say(message); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *turn) next() ([]byte, error) {
	message, err := t.receive()
	if err == nil {
		t.received++
		t.key.counted("received")
		t.payload = message
	}
	return message, err
}

func (t *turn) say(message []byte) error {
	if t.send == nil {
		return errors.Newf(errors.CodeInvalidArgument, "", "no stream of replies")
	}
	err := t.send(message)
	if err == nil {
		t.key.counted("sent")
	}
	return err
}

func (t *turn) held() (*key, error) {
	if t.key == nil {
		return nil, errors.Newf(errors.CodeInvalidArgument, "", "the plan needs a key for this")
	}
	t.event("held")
	return t.key, nil
}

// wait waits for something, or for the end of the call.
func wait[T any](ctx context.Context, what <-chan T) error {
	select {
	case <-what:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) act() error {
	calls := t.key.counted("calls")
	fail := errors.Error{}
	size, fill, times, http := -1, 0, -1, 0
	following, args := "", "{}"
	for _, action := range t.plan {
		value := action.value
		switch action.name {
		case "key", "tag":
		case "tell":
			if number(value) == calls {
				t.event("reached")
			}
		case "begin":
			if err := server.SendHeader(t.ctx); err != nil {
				return err
			}
		case "report":
			reported, err := t.report(value)
			if err != nil {
				return err
			}
			t.payload = []byte(reported)
		case "size":
			size = number(value)
		case "fill":
			fill = number(value)
		case "sleep":
			if err := wait(t.ctx, time.After(time.Duration(number(value))*time.Millisecond)); err != nil {
				return err
			}
		case "hold":
			key, err := t.held()
			if err == nil {
				err = wait(t.ctx, key.released)
			}
			if err != nil {
				return err
			}
		case "block":
			key, err := t.held()
			if err != nil {
				return err
			}
			<-key.released
		case "next":
			following = value
		case "publish":
			message := t.service.Client().NewMessage(value, t.payload, client.WithMessageContentType("application/grpc+bytes"))
			if err := t.service.Client().Publish(t.ctx, message, client.PublishMetadata(metadata.Pairs("do", following))); err != nil {
				return err
			}
		case "say":
			tell("event", append([]field{{"name", "said"}, {"key", t.keyName}}, shown(t.payload)...)...)
		case "call":
			request := t.service.Client().NewRequest(value, "Conformance.Do", t.payload, client.WithContentType("application/grpc+bytes"))
			var reply []byte
			err := t.service.Client().Call(t.ctx, request, &reply, client.WithMetadata(metadata.Pairs("do", following)))
			if err != nil {
				return err
			}
			t.payload = reply
		case "args":
			args = value
		case "ask":
			answer, err := ask(t.ctx, t.service.Client(), value, args)
			if err != nil {
				return err
			}
			t.payload = answer
		case "messages":
			message := t.payload
			if size >= 0 {
				message = pattern(size, fill)
			}
			for range number(value) {
				if err := t.say(message); err != nil {
					return err
				}
			}
		case "receive":
			for range number(value) {
				if t.receive == nil {
					break
				}
				if _, err := t.next(); err == io.EOF {
					break
				} else if err != nil {
					return err
				}
			}
		case "times":
			times = number(value)
		case "detail":
			fail.Detail = value
		case "error_id":
			fail.Id = value
		case "http":
			http = number(value)
		case "fail":
			if times >= 0 && calls > times {
				continue
			}
			if http != 0 {
				made := errors.New(fail.Id, fail.Detail, int32(http)).(*errors.Error)
				made.Details = fail.Details
				return made
			}
			fail.Kind = errors.Code(number(value))
			return &fail
		case "panic":
			panic(value)
		default:
			if name, ok := strings.CutPrefix(action.name, "attach."); ok {
				fail.Details = append(fail.Details, errors.Detail{Name: name, Value: []byte(value)})
			} else if name, ok := strings.CutPrefix(action.name, "trailer."); ok {
				server.SetTrailer(t.ctx, name, decoded(name, value))
			} else if !strings.HasPrefix(action.name, "header.") {
				return errors.Newf(errors.CodeInvalidArgument, "", "no action `%s`", action.name)
			}
		}
	}
	if size >= 0 {
		t.payload = pattern(size, fill)
	}
	return nil
}

func (t *turn) report(what string) (string, error) {
	switch what {
	case "metadata":
		came, _ := metadata.FromIncoming(t.ctx)
		var names []string
		for name := range came {
			if strings.HasPrefix(name, "test-") {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		var text strings.Builder
		for _, name := range names {
			for _, value := range came.Values(name) {
				fmt.Fprintf(&text, "%s: %s\n", name, encoded(name, value))
			}
		}
		return text.String(), nil
	case "deadline":
		deadline, ok := t.ctx.Deadline()
		if !ok {
			return "none", nil
		}
		return strconv.FormatInt(time.Until(deadline).Milliseconds(), 10), nil
	case "delivery":
		message, ok := broker.FromContext(t.ctx)
		if !ok {
			return "", errors.Newf(errors.CodeInvalidArgument, "", "this is no message")
		}
		return fmt.Sprintf("%s %d %s %s %d", message.Topic, message.Attempt, cmp.Or(message.Key, "-"), cmp.Or(message.Id, "-"), message.Priority), nil
	case "caller", "endpoint":
		info, ok := server.Describe(t.ctx)
		if !ok {
			return "", stderrors.New("nothing is known of the call")
		}
		if what == "caller" {
			return info.Caller, nil
		}
		return info.Endpoint, nil
	}
	return "", errors.Newf(errors.CodeInvalidArgument, "", "nothing known of `%s`", what)
}

// ask asks what has an answer, each by a method of the client.
func ask(ctx context.Context, c client.Client, operation, text string) ([]byte, error) {
	args, err := arguments(text)
	if err != nil {
		return nil, err
	}
	switch operation {
	case "client.health":
		return written(c.Health(ctx, args.name))
	case "client.nodes":
		return written(c.Nodes(ctx, args.name))
	case "client.stats":
		return c.Stats(ctx)
	case "registry.get":
		return written(c.Lookup(ctx, args.name))
	case "registry.list":
		return written(c.Services(ctx))
	case "registry.register":
		if args.ttl > 0 {
			return nil, c.Register(ctx, args.record, client.RegisterTTL(args.ttl))
		}
		return nil, c.Register(ctx, args.record)
	case "registry.deregister":
		return nil, c.Deregister(ctx, args.record)
	}
	return nil, errors.Newf(errors.CodeInvalidArgument, "", "nothing is asked by `%s`", operation)
}

func written(answer any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}
