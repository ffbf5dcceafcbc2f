package main

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/microtest"
)

// caller is the client's part: one client at a time, and any number of calls and streams at once.
type caller struct {
	lock    sync.Mutex
	client  client.Client
	calls   map[string]*call
	running sync.WaitGroup
}

// call is one that is under way, and what it is told meanwhile.
type call struct {
	id     string
	ctx    context.Context
	cancel context.CancelFunc
	begun  time.Time
	wanted chan struct{}
	// What is being sent is answered before the result is told.
	sending sync.WaitGroup

	lock  sync.Mutex
	sends []line
	more  chan struct{}
	over  bool
	head  func() (metadata.MD, error)
}

func newCaller() *caller { return &caller{calls: map[string]*call{}} }

func (c *caller) up() client.Client {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.client
}

func (c *caller) do(asked line) {
	id := asked.get("id")
	switch asked.verb {
	case "ping":
		tell("ok", field{"id", id})
	case "start":
		c.start(asked)
	case "provide":
		if _, err := micro.Provide(asked.get("name"), microtest.NewRegistry()); err != nil {
			tell("failed", append([]field{{"id", id}}, failure(err)...)...)
			return
		}
		tell("ok", field{"id", id})
	case "stop":
		go c.stop(id)
	case "call":
		c.begin(asked, c.call)
	case "publish":
		c.begin(asked, c.publish)
	case "open":
		c.begin(asked, c.open)
	case "many":
		c.begin(asked, c.many)
	case "ask":
		c.begin(asked, c.ask)
	case "follow":
		c.begin(asked, c.follow)
	default:
		c.lock.Lock()
		known := c.calls[id]
		c.lock.Unlock()
		if known == nil {
			if asked.verb == "send" {
				tell("unsent", field{"id", id})
			}
			return
		}
		known.told(asked)
	}
}

func (c *caller) start(asked line) {
	id := field{"id", asked.get("id")}
	opts := []client.Option{client.Document(asked.get("settings"))}
	for _, name := range asked.all("layer") {
		opts = append(opts, client.Wrap(ofClients(name)))
	}
	made := micro.NewClient(opts...)
	// Opens it, so that a document which is refused is refused here.
	if _, err := made.Stats(context.Background()); err != nil {
		tell("failed", append([]field{id}, failure(err)...)...)
		return
	}
	c.lock.Lock()
	c.client = made
	c.lock.Unlock()
	tell("ok", id)
}

func (c *caller) stop(id string) {
	c.lock.Lock()
	mine := c.client
	c.client = nil
	for _, one := range c.calls {
		one.cancel()
	}
	c.lock.Unlock()
	if mine != nil {
		_ = mine.Close()
	}
	c.running.Wait()
	tell("ok", field{"id", id})
}

func (c *caller) begin(asked line, work func(*call, line) []field) {
	one := &call{id: asked.get("id"), begun: time.Now(), wanted: make(chan struct{}, 1<<16), more: make(chan struct{}, 1)}
	one.ctx, one.cancel = context.WithCancel(context.Background())
	c.lock.Lock()
	c.calls[one.id] = one
	c.lock.Unlock()
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		fields := work(one, asked)
		c.lock.Lock()
		delete(c.calls, one.id)
		c.lock.Unlock()
		one.cancel()
		one.sending.Wait()
		one.end()
		told := append([]field{{"id", one.id}}, fields...)
		tell("result", append(told, field{"elapsed_ms", strconv.FormatInt(time.Since(one.begun).Milliseconds(), 10)})...)
	}()
}

func noClient() error { return errors.Newf(errors.CodeFailedPrecondition, "", "no client was started") }

// terms are those of a call: what its context sends, and options.
func terms(ctx context.Context, asked line) (context.Context, []client.CallOption) {
	document, md := apart(asked.get("settings"))
	for name, values := range md {
		for _, value := range values {
			ctx = metadata.Append(ctx, name, value)
		}
	}
	return ctx, []client.CallOption{client.WithDocument(document)}
}

func (c *caller) call(one *call, asked line) []field {
	mine := c.up()
	if mine == nil {
		return failure(noClient())
	}
	var reply []byte
	var headers, trailers metadata.MD
	ctx, opts := terms(one.ctx, asked)
	opts = append(opts, client.WithHeader(&headers), client.WithTrailer(&trailers))
	err := mine.Call(ctx, mine.NewRequest(asked.get("service"), asked.get("endpoint"), asked.payload()), &reply, opts...)
	told := append(heads("h.", headers), heads("t.", trailers)...)
	if err != nil {
		return append(failure(err), told...)
	}
	return append(append([]field{{"code", "0"}}, shown(reply)...), told...)
}

func (c *caller) publish(one *call, asked line) []field {
	mine := c.up()
	if mine == nil {
		return failure(noClient())
	}
	message := mine.NewMessage(asked.get("topic"), asked.payload(), client.WithMessageContentType("application/grpc+bytes"))
	opts := []client.PublishOption{client.PublishDocument(asked.get("settings")), client.PublishMetadata(metadata.Pairs("do", asked.get("do")))}
	if asked.get("task") != "" {
		var answer []byte
		id, err := mine.Task(one.ctx, message, opts...)
		if err == nil {
			err = mine.TaskResult(one.ctx, id, &answer)
		}
		if err != nil {
			return failure(err)
		}
		return append([]field{{"code", "0"}}, shown(answer)...)
	}
	err := mine.Publish(one.ctx, message, opts...)
	if err != nil {
		return failure(err)
	}
	return []field{{"code", "0"}}
}

func (c *caller) open(one *call, asked line) []field {
	mine := c.up()
	if mine == nil {
		return failure(noClient())
	}
	service, endpoint, kind := asked.get("service"), asked.get("endpoint"), asked.get("kind")
	var headers, trailers metadata.MD
	ctx, opts := terms(one.ctx, asked)
	opts = append(opts, client.WithHeader(&headers), client.WithTrailer(&trailers))
	var stream interface {
		Recv() ([]byte, error)
		CloseSend() error
		Header() (metadata.MD, error)
	}
	send := func([]byte) error { return io.ErrClosedPipe }
	var err error
	switch kind {
	case "server":
		stream, err = micro.ServerStream[[]byte](ctx, mine, service, endpoint, asked.payload(), opts...)
	case "client":
		opened, failed := micro.ClientStream[[]byte, []byte](ctx, mine, service, endpoint, opts...)
		if err = failed; err == nil {
			stream, send = opened, opened.Send
		}
	default:
		opened, failed := micro.BidiStream[[]byte, []byte](ctx, mine, service, endpoint, opts...)
		if err = failed; err == nil {
			stream, send = opened, opened.Send
		}
	}
	if err != nil {
		return failure(err)
	}
	one.setHeader(stream.Header)
	tell("opened", field{"id", one.id})
	one.sending.Add(1)
	go func() {
		defer one.sending.Done()
		one.sendAll(send, stream.CloseSend)
	}()
	fields := []field{{"code", "0"}}
	if kind == "client" {
		var reply []byte
		if reply, err = stream.Recv(); err == nil {
			fields = append(fields, shown(reply)...)
			_, err = stream.Recv()
		}
	} else {
		err = one.readAll(stream.Recv)
	}
	if err != io.EOF {
		fields = failure(err)
	}
	return append(append(fields, heads("h.", headers)...), heads("t.", trailers)...)
}

// readAll takes the next message when it is there, and tells it when it is asked for, so that the end is seen without asking.
func (c *call) readAll(next func() ([]byte, error)) error {
	for {
		message, err := next()
		if err != nil {
			return err
		}
		select {
		case <-c.wanted:
			tell("message", append([]field{{"id", c.id}}, shown(message)...)...)
		case <-c.ctx.Done():
			return errors.Newf(errors.CodeCanceled, "", "cancelled")
		}
	}
}

func (c *call) setHeader(head func() (metadata.MD, error)) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.head = head
}

func (c *call) tellHeader() {
	c.lock.Lock()
	head := c.head
	c.lock.Unlock()
	if md, err := head(); err == nil {
		tell("headers", append([]field{{"id", c.id}}, heads("h.", md)...)...)
	}
}

func (c *call) told(asked line) {
	switch asked.verb {
	case "headers":
		go c.tellHeader()
	case "recv":
		c.wanted <- struct{}{}
	case "cancel":
		c.cancel()
	case "send", "close":
		c.lock.Lock()
		over := c.over
		if !over {
			c.sends = append(c.sends, asked)
		}
		c.lock.Unlock()
		if over && asked.verb == "send" {
			tell("unsent", field{"id", c.id})
		}
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// sendAll sends as it is told to, one after the other.
func (c *call) sendAll(send func([]byte) error, last func() error) {
	for {
		c.lock.Lock()
		var asked line
		known := len(c.sends) > 0
		if known {
			asked, c.sends = c.sends[0], c.sends[1:]
		}
		c.lock.Unlock()
		if !known {
			select {
			case <-c.more:
				continue
			case <-c.ctx.Done():
				return
			}
		}
		if asked.verb == "close" {
			_ = last()
			continue
		}
		var err error
		for range asked.number("count", 1) {
			if err = send(asked.payload()); err != nil {
				break
			}
		}
		verb := "sent"
		if err != nil {
			verb = "unsent"
		}
		tell(verb, field{"id", c.id})
	}
}

// end answers the sends that come too late.
func (c *call) end() {
	c.lock.Lock()
	left := c.sends
	c.sends, c.over = nil, true
	c.lock.Unlock()
	for _, asked := range left {
		if asked.verb == "send" {
			tell("unsent", field{"id", c.id})
		}
	}
}

func (c *caller) many(one *call, asked line) []field {
	mine := c.up()
	if mine == nil {
		return failure(noClient())
	}
	payload := asked.payload()
	var left atomic.Int64
	left.Store(int64(asked.number("count", 0)))
	var lock sync.Mutex
	counts := map[string]int{"ok": 0, "wrong": 0}
	var work sync.WaitGroup
	for range asked.number("concurrency", 1) {
		work.Add(1)
		go func() {
			defer work.Done()
			for left.Add(-1) >= 0 {
				var reply []byte
				var headers metadata.MD
				ctx, opts := terms(one.ctx, asked)
				opts = append(opts, client.WithHeader(&headers))
				err := mine.Call(ctx, mine.NewRequest(asked.get("service"), asked.get("endpoint"), payload), &reply, opts...)
				lock.Lock()
				switch {
				case err != nil:
					counts["failed."+strconv.Itoa(int(errors.CodeFor(err)))]++
				case string(reply) == string(payload):
					counts["ok"]++
				default:
					counts["wrong"]++
				}
				if tag := headers.Get("tag"); err == nil && tag != "" {
					counts["tag."+tag]++
				}
				lock.Unlock()
			}
		}()
	}
	work.Wait()
	if one.ctx.Err() != nil {
		return []field{{"code", "1"}}
	}
	fields := []field{{"code", "0"}}
	for name, count := range counts {
		fields = append(fields, field{name, strconv.Itoa(count)})
	}
	return fields
}

// within is the time a question may take.
func (c *call) within(asked line) (context.Context, context.CancelFunc) {
	if _, ok := asked.find("timeout"); ok {
		return context.WithTimeout(c.ctx, time.Duration(asked.number("timeout", 0))*time.Millisecond)
	}
	return c.ctx, func() {}
}

func (c *caller) ask(one *call, asked line) []field {
	mine := c.up()
	if mine == nil {
		return failure(noClient())
	}
	ctx, cancel := one.within(asked)
	defer cancel()
	answer, err := ask(ctx, mine, asked.get("operation"), asked.get("args"))
	if err != nil {
		return failure(err)
	}
	if answer == nil {
		return []field{{"code", "0"}}
	}
	return []field{{"code", "0"}, {"answer", string(answer)}}
}

func (c *caller) follow(one *call, asked line) []field {
	mine := c.up()
	if mine == nil {
		return failure(noClient())
	}
	args, err := arguments(asked.get("args"))
	if err != nil {
		return failure(err)
	}
	var opens []client.WatchOption
	if _, ok := asked.find("timeout"); ok {
		opens = append(opens, client.WatchTimeout(time.Duration(asked.number("timeout", 0))*time.Millisecond))
	}
	if args.name != "" {
		opens = append(opens, client.WatchService(args.name))
	}
	watch, err := mine.Watch(one.ctx, opens...)
	if err != nil {
		return failure(err)
	}
	tell("opened", field{"id", one.id})
	for change, err := range watch.All() {
		if err != nil {
			return failure(err)
		}
		select {
		case <-one.wanted:
		case <-one.ctx.Done():
			return failure(errors.Newf(errors.CodeCanceled, "", "cancelled"))
		}
		told, err := json.Marshal(change)
		if err != nil {
			panic(err)
		}
		tell("change", field{"id", one.id}, field{"answer", string(told)})
	}
	return []field{{"code", "0"}}
}
