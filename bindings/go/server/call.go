package server

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/internal/scope"
	"github.com/micro/micro/bindings/go/metadata"
)

type callKey struct{}

// call is one that is served: the context of its handler, and the request that wrappers see.
type call struct {
	base   context.Context
	native native.Inbound
	server *rpc
	*served
	body any
	// Of a topic, and of a job.
	message *broker.Message
	tick    *Running
	// Of a task, what its handler gave.
	reply any

	lock     sync.Mutex
	done     chan struct{}
	err      error
	after    map[*func()]struct{}
	incoming metadata.MD
	trailers metadata.MD
}

func (c *call) Deadline() (time.Time, bool) {
	base, ok := c.base.Deadline()
	switch {
	case c.native.Deadline.IsZero():
		return base, ok
	case ok && base.Before(c.native.Deadline):
		return base, true
	}
	return c.native.Deadline, true
}

// Done is made when it is asked for: most handlers do not look.
func (c *call) Done() <-chan struct{} {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *call) Err() error {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.err
}

func (c *call) Value(key any) any {
	switch key {
	case callKey{}:
		return c
	case scope.Key:
		return &c.native
	case metadata.IncomingKey:
		return c
	case broker.Key{}:
		return c.message
	case runKey{}:
		return c.tick
	}
	return c.base.Value(key)
}

// AfterFunc is what the package context asks for, so that contexts made of this one need no goroutine.
func (c *call) AfterFunc(f func()) func() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[*func()]struct{}{}
	}
	key := &f
	c.after[key] = struct{}{}
	return func() bool {
		c.lock.Lock()
		defer c.lock.Unlock()
		_, known := c.after[key]
		delete(c.after, key)
		return known
	}
}

// end has the context be done.
func (c *call) end(err error) {
	c.lock.Lock()
	if c.err != nil {
		c.lock.Unlock()
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.lock.Unlock()
	for f := range after {
		go (*f)()
	}
}

// Cancelled hears that nobody waits any more.
func (c *call) Cancelled(status int32) {
	if status == native.Deadline {
		c.end(context.DeadlineExceeded)
		return
	}
	c.end(context.Canceled)
}

// Incoming is what came along, read when it is asked for.
func (c *call) Incoming() metadata.MD {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.incoming == nil {
		headers, _ := native.ReadMeta(c.native.Meta)
		c.incoming = metadata.FromEntries(headers)
	}
	return c.incoming
}

func (c *call) describe() (info Info, ok bool) {
	said := c.native.Describe()
	return info, len(said) > 0 && json.Unmarshal(said, &info) == nil
}

func (c *call) setHeader(name string, values []string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	added := metadata.MD{}
	added.Append(name, values...)
	if block, failure := native.Meta(added.Entries()); failure == nil {
		c.native.SetHeaders(block)
	}
}

func (c *call) setTrailer(name string, values []string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.trailers == nil {
		c.trailers = metadata.MD{}
	}
	c.trailers.Append(name, values...)
}

// tail is the block of the trailers.
func (c *call) tail() ([]byte, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if len(c.trailers) == 0 {
		return nil, nil
	}
	block, failure := native.Meta(c.trailers.Entries())
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	return block, nil
}

func (c *call) codec() uint32 { return uint32(c.native.Flags) & native.CodecMask }

// The request, as wrappers see it.

func (c *call) Service() string       { return c.server.name() }
func (c *call) Method() string        { return c.endpoint.name }
func (c *call) Endpoint() string      { return c.endpoint.name }
func (c *call) ContentType() string   { return codec.Name(c.codec()) }
func (c *call) Body() any             { return c.body }
func (c *call) Read() ([]byte, error) { return c.native.Payload, nil }
func (c *call) Stream() bool          { return c.endpoint.shape != native.Unary }

func (c *call) Header() map[string]string {
	md := c.Incoming()
	flat := make(map[string]string, len(md))
	for name := range md {
		flat[name] = md.Get(name)
	}
	return flat
}
