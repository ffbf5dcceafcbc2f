package native

// #include "shim.h"
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Client calls services.
type Client struct {
	runtime *Runtime
	client  *C.micro_client
	gate    gate
	closed  atomic.Bool
}

// NewClient makes a client of a runtime, which it retains.
func NewClient(runtime *Runtime, options []byte) (*Client, *Error) {
	made := &Client{runtime: runtime, gate: newGate()}
	if !runtime.gate.enter() {
		return nil, errClosed
	}
	defer runtime.gate.leave()
	data, size := pointer(options)
	var err *C.micro_error
	if status := C.go_client_new(runtime.runtime, data, size, &made.client, &err); status != C.MICRO_OK {
		return nil, failed(status, err)
	}
	runtime.Retain()
	return made, nil
}

// Runtime is what it runs on.
func (c *Client) Runtime() *Runtime { return c.runtime }

var errClosed = &Error{Status: Closed, ID: "micro", Message: "this is closed: make a new one"}

// Close cancels what is under way, and returns once nothing uses the client any more.
func (c *Client) Close() {
	if c.closed.Swap(true) {
		return
	}
	var mine []ID
	for _, queue := range c.runtime.queues {
		queue.table.each(func(told Told) {
			switch told := told.(type) {
			case *operation:
				if told.client == c {
					mine = append(mine, ID(told.id.Load()))
				}
			case *Stream:
				if told.client == c {
					mine = append(mine, ID(told.id.Load()))
				}
			}
		})
	}
	for _, id := range mine {
		c.runtime.Cancel(id)
	}
	c.gate.shut()
	C.micro_client_free(c.client)
	c.runtime.Release()
}

// Request is a call to be made.
type Request struct {
	Service, Endpoint string
	Flags             uint32
	Shape             uint32
	Meta              []byte
	Payload           []byte
	Timeout           uint64
	Parent            ID
	Options           []byte
	// Whether the metadata of an answer is wanted; that of a failure always is.
	WithMeta bool
}

// Result is how an operation ended.
type Result struct {
	Flags   uint16
	Payload []byte
	Meta    []byte
	Err     *Error
}

// operation is a unary call, or a question.
type operation struct {
	client   *Client
	id       atomic.Uint64
	done     chan struct{}
	withMeta bool
	result   Result
}

var operations = sync.Pool{New: func() any { return &operation{done: make(chan struct{}, 1)} }}

func (o *operation) Told(event *Event) bool {
	o.result = Result{Flags: event.Flags, Payload: event.Payload(), Err: event.Err}
	if o.withMeta || event.Err != nil {
		o.result.Meta = event.Meta()
	}
	o.done <- struct{}{}
	return true
}

// began keeps the id of what was submitted, and ends it where the client was closed meanwhile.
func (c *Client) began(known *atomic.Uint64, id C.micro_id) {
	known.Store(uint64(id))
	if c.closed.Load() {
		c.runtime.Cancel(ID(id))
	}
}

// patience is how long the library has to notice a deadline of a context itself, and to say where the call was by then.
const patience = 50 * time.Millisecond

// wait returns when the operation is over, which a context that is done makes it.
func (o *operation) wait(ctx context.Context, runtime *Runtime) Result {
	if done := ctx.Done(); done == nil {
		<-o.done
	} else {
		select {
		case <-o.done:
		case <-done:
			o.cancel(ctx, runtime)
		}
	}
	result := o.result
	*o = operation{done: o.done}
	operations.Put(o)
	return result
}

func (o *operation) cancel(ctx context.Context, runtime *Runtime) {
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if late {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-o.done:
			return
		case <-timer.C:
		}
	}
	runtime.Cancel(ID(o.id.Load()))
	<-o.done
	if late && o.result.Err != nil && o.result.Err.Status == Cancelled {
		o.result.Err.Status, o.result.Err.HTTP = Deadline, 0
		o.result.Err.Message = "the deadline of the context passed"
	}
}

// Call makes a unary call. It ends when the context does, and never before the library has told the end.
func (c *Client) Call(ctx context.Context, request *Request) Result {
	if !c.gate.enter() {
		return Result{Err: errClosed}
	}
	queue := c.runtime.queue()
	op := operations.Get().(*operation)
	op.client, op.withMeta = c, request.WithMeta
	token, ok := queue.table.add(op)
	if !ok {
		c.gate.leave()
		return Result{Err: errClosed}
	}
	id, failure := c.submit(queue, request, token)
	if failure == nil {
		c.began(&op.id, id)
	}
	c.gate.leave()
	if failure != nil {
		queue.table.remove(token)
		*op = operation{done: op.done}
		operations.Put(op)
		return Result{Err: failure}
	}
	return op.wait(ctx, c.runtime)
}

func (c *Client) submit(queue *Queue, request *Request, token uint64) (C.micro_id, *Error) {
	service, serviceLen := pointer(request.Service)
	method, methodLen := pointer(request.Endpoint)
	meta, metaLen := pointer(request.Meta)
	payload, payloadLen := pointer(request.Payload)
	options, optionsLen := pointer(request.Options)
	var id C.micro_id
	var err *C.micro_error
	status := C.go_call(c.client, queue.queue, C.uint32_t(request.Shape), C.uint32_t(request.Flags),
		service, serviceLen, method, methodLen, meta, metaLen, payload, payloadLen,
		C.uint64_t(request.Timeout), C.micro_id(request.Parent), options, optionsLen,
		C.uint64_t(token), &id, &err)
	if status != C.MICRO_OK {
		return 0, failed(status, err)
	}
	return id, nil
}

// Open opens a stream. The context is not looked at after this: who opens it cancels it.
func (c *Client) Open(request *Request) (*Stream, *Error) {
	if !c.gate.enter() {
		return nil, errClosed
	}
	defer c.gate.leave()
	queue := c.runtime.queue()
	made := newStream(c.runtime)
	made.client = c
	token, ok := queue.table.add(made)
	if !ok {
		return nil, errClosed
	}
	id, failure := c.submit(queue, request, token)
	if failure != nil {
		queue.table.remove(token)
		return nil, failure
	}
	c.began(&made.id, id)
	made.begin()
	return made, nil
}

// Question is what is asked beside calls.
type Question struct {
	Operation uint32
	Args      map[string]any
	Timeout   uint64
	Parent    ID
}

// Ask asks a question and waits for the answer.
func (c *Client) Ask(ctx context.Context, question *Question) Result {
	return c.begin(ctx, func(queue *Queue, token uint64) (C.micro_id, *Error) { return c.question(queue, question, 0, token) })
}

// Publication is a message to be published.
type Publication struct {
	Topic   string
	Flags   uint32
	Meta    []byte
	Payload []byte
	Timeout uint64
	Parent  ID
	Options []byte
}

// Publish publishes a message and waits until its broker has it.
func (c *Client) Publish(ctx context.Context, message *Publication) Result {
	return c.begin(ctx, func(queue *Queue, token uint64) (C.micro_id, *Error) {
		topic, topicLen := pointer(message.Topic)
		meta, metaLen := pointer(message.Meta)
		payload, payloadLen := pointer(message.Payload)
		options, optionsLen := pointer(message.Options)
		var id C.micro_id
		var err *C.micro_error
		status := C.go_publish(c.client, queue.queue, C.uint32_t(message.Flags), topic, topicLen, meta, metaLen, payload, payloadLen,
			C.uint64_t(message.Timeout), C.micro_id(message.Parent), options, optionsLen, C.uint64_t(token), &id, &err)
		return id, failed(status, err)
	})
}

// begin begins an operation and waits for its end.
func (c *Client) begin(ctx context.Context, submit func(*Queue, uint64) (C.micro_id, *Error)) Result {
	if !c.gate.enter() {
		return Result{Err: errClosed}
	}
	queue := c.runtime.queue()
	op := operations.Get().(*operation)
	op.client, op.withMeta = c, false
	token, ok := queue.table.add(op)
	if !ok {
		c.gate.leave()
		return Result{Err: errClosed}
	}
	id, failure := submit(queue, token)
	if failure == nil {
		c.began(&op.id, id)
	}
	c.gate.leave()
	if failure != nil {
		queue.table.remove(token)
		return Result{Err: failure}
	}
	return op.wait(ctx, c.runtime)
}

// Follow goes on hearing answers.
func (c *Client) Follow(question *Question) (*Stream, *Error) {
	if !c.gate.enter() {
		return nil, errClosed
	}
	defer c.gate.leave()
	queue := c.runtime.queue()
	made := newStream(c.runtime)
	made.client, made.lends = c, question.Operation == BrokerSubscribe
	token, ok := queue.table.add(made)
	if !ok {
		return nil, errClosed
	}
	id, failure := c.question(queue, question, 1, token)
	if failure != nil {
		queue.table.remove(token)
		return nil, failure
	}
	c.began(&made.id, id)
	made.begin()
	return made, nil
}

func (c *Client) question(queue *Queue, question *Question, follow C.int, token uint64) (C.micro_id, *Error) {
	document, wrong := json.Marshal(question.Args)
	if wrong != nil {
		return 0, &Error{Status: Arg, ID: "micro", Message: wrong.Error()}
	}
	args, argsLen := pointer(document)
	var id C.micro_id
	var err *C.micro_error
	status := C.go_ask(c.client, queue.queue, follow, C.uint32_t(question.Operation), args, argsLen,
		C.uint64_t(question.Timeout), C.micro_id(question.Parent), C.uint64_t(token), &id, &err)
	if status != C.MICRO_OK {
		return 0, failed(status, err)
	}
	return id, nil
}
