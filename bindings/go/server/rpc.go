package server

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/registry"
)

// rpc is the server of the core.
type rpc struct {
	lock        sync.Mutex
	opts        Options
	endpoints   []*endpoint
	subscribers []*subscriber
	jobs        []*Job
	native      *native.Server
	record      *registry.Service
	stopping    chan struct{}
	clients     func() map[string]any
}

// NewServer makes a server.
func NewServer(opts ...Option) Server { return New(nil, opts...) }

// New makes a server whose client has a document. For the packages of this module.
func New(clients func() map[string]any, opts ...Option) *Native {
	made := &rpc{clients: clients, opts: Options{Context: context.Background()}}
	for _, opt := range opts {
		opt(&made.opts)
	}
	return &Native{made}
}

// Native is a server of the core. For the packages of this module.
type Native struct{ *rpc }

func (r *rpc) name() string { return r.opts.Name }

func (r *rpc) String() string { return "micro" }

func (r *rpc) Options() Options {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.opts
}

func (r *rpc) Init(opts ...Option) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.native != nil {
		return running(r.opts.Name)
	}
	for _, opt := range opts {
		opt(&r.opts)
	}
	return nil
}

func running(name string) error {
	return errors.Newf(errors.CodeFailedPrecondition, "micro", "%s runs already: stop it first", name)
}

func (r *rpc) NewHandler(value any, opts ...HandlerOption) Handler { return newHandler(value, opts...) }

// NewHandler makes a handler of a value, as Server.NewHandler does.
func NewHandler(value any, opts ...HandlerOption) Handler { return newHandler(value, opts...) }

func (r *rpc) Handle(given Handler) error {
	made, ok := given.(*handler)
	if !ok {
		return errors.Newf(errors.CodeInvalidArgument, "micro", "%T is no handler of this package: give what NewHandler made", given)
	}
	if made.err != nil {
		return errors.Newf(errors.CodeInvalidArgument, "micro", "%s", made.err)
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.native != nil {
		return running(r.opts.Name)
	}
	for _, one := range made.endpoints {
		for _, known := range r.endpoints {
			if known.name == one.name {
				return errors.Newf(errors.CodeAlreadyExists, "micro", "there is an endpoint %s already", one.name)
			}
		}
	}
	r.endpoints = append(r.endpoints, made.endpoints...)
	return nil
}

func (r *rpc) Start() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.native != nil {
		return running(r.opts.Name)
	}
	settings, err := r.settings()
	if err != nil {
		return err
	}
	runtime, err := native.Acquire()
	if err != nil {
		if failure, ok := err.(*native.Error); ok {
			return errors.FromNative(failure, nil)
		}
		return err
	}
	defer runtime.Release()
	var all []*served
	for _, one := range r.endpoints {
		all = append(all, newServed(one, r.opts.HdlrWrappers))
	}
	if check := r.opts.RegisterCheck; check != nil {
		all = append(all, newServed(ofCheck(check), nil))
	}
	for _, one := range r.subscribers {
		all = append(all, one.served(r.opts.SubWrappers))
	}
	for _, one := range r.jobs {
		all = append(all, one.served(r.opts.SubWrappers))
	}
	// One piece of memory for all that is known of a call.
	begin := func() *native.Inbound {
		one := &call{base: r.opts.Context, server: r}
		one.native.Owner = one
		return &one.native
	}
	made, failure := native.NewServer(runtime, r.opts.Name, settings, begin, func(call *native.Inbound) { serve(all, call) })
	if failure != nil {
		return errors.FromNative(failure, nil)
	}
	for _, one := range all {
		if err := one.add(made); err != nil {
			made.Free()
			return err
		}
	}
	if failure := made.Start(); failure != nil {
		made.Free()
		return errors.FromNative(failure, nil)
	}
	record, err := registry.Decode[*registry.Service](made.Record)
	if err != nil {
		made.Abort()
		<-made.Over()
		made.Free()
		return err
	}
	r.native, r.record, r.stopping = made, record, make(chan struct{})
	return nil
}

// settings is the document of the service.
func (r *rpc) settings() ([]byte, error) {
	document := r.opts.document.Copy()
	if r.clients != nil {
		if fields := r.clients(); len(fields) > 0 {
			if _, told := document.Get("client"); !told {
				document.Set("client", fields)
			}
		}
	}
	settings, err := document.JSON()
	if err != nil {
		return nil, errors.Newf(errors.CodeInvalidArgument, "micro", "%s", err)
	}
	return settings, nil
}

// Explain is every setting with its value and what set it, as JSON. For the packages of this module.
func (r *rpc) Explain() ([]byte, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	settings, err := r.settings()
	if err != nil {
		return nil, err
	}
	said, failure := native.Explain(r.opts.Name, settings)
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	return said, nil
}

// ofCheck is a register check as an endpoint.
func ofCheck(check func(context.Context) error) *endpoint {
	made := &endpoint{
		name:     "register_check",
		shape:    native.Unary,
		messages: func() (any, any) { return nil, new([]byte) },
		handle:   func(ctx context.Context, _ Request, _ any) error { return check(ctx) },
	}
	made.opts.set("register_check", true)
	return made
}

func (r *rpc) Stop() error {
	running := r.Running()
	if running == nil {
		return nil
	}
	running.Stop()
	<-running.Over()
	return r.Forget()
}

// Forget lets the server that was stopped, or ended, go. For the packages of this module.
func (r *rpc) Forget() error {
	r.lock.Lock()
	over := r.native
	r.native, r.record = nil, nil
	r.lock.Unlock()
	if over == nil {
		return nil
	}
	failure := over.Err()
	over.Free()
	if failure == nil || failure.Status == native.Cancelled || failure.Status == native.Closed {
		return nil
	}
	return errors.FromNative(failure, nil)
}

// Running is the server while it runs, or nil. For the packages of this module.
func (r *rpc) Running() *native.Server {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.native
}

// Record is the service as it is registered, while it runs; nil otherwise.
func (r *rpc) Record() *registry.Service {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.record
}

// served is an endpoint with the wrappers around it.
type served struct {
	endpoint *endpoint
	handle   HandlerFunc
	// What errors call its messages.
	asked, returned, sent string
	// Of a topic.
	subscriber *subscriber
	job        *Job
	deliver    SubscriberFunc
}

// add has the server know it.
func (s *served) add(to *native.Server) error {
	var settings []byte
	var failure *native.Error
	var err error
	if s.job != nil {
		if settings, err = s.job.opts.document.JSON(); err == nil {
			failure = to.Job(settings)
		}
	} else if s.subscriber != nil {
		if settings, err = s.subscriber.settings(); err == nil {
			failure = to.Subscribe(s.subscriber.topic, settings)
		}
	} else if settings, err = s.endpoint.settings(); err == nil {
		failure = to.Method(s.endpoint.name, s.endpoint.shape, settings)
	}
	if failure != nil {
		err = errors.FromNative(failure, nil)
	}
	return err
}

func newServed(one *endpoint, wrappers []HandlerWrapper) *served {
	handle := one.handle
	for at := len(wrappers); at > 0; at-- {
		handle = wrappers[at-1](handle)
	}
	what := "what " + one.name
	asked := "a request of " + one.name
	if one.shape == native.Unary || one.shape == native.ServerStream {
		asked = "the request of " + one.name
	}
	return &served{endpoint: one, handle: handle, asked: asked, returned: what + " returned", sent: what + " sent"}
}

// serve begins a call; it is told of it on the goroutine that drains, so it must not wait.
func serve(all []*served, given *native.Inbound) {
	if int(given.Method) >= len(all) {
		go given.Fail(&native.Error{Status: int32(errors.CodeUnimplemented), ID: "micro", Message: "there is no such endpoint"}, nil)
		return
	}
	serving := given.Owner.(*call)
	serving.served = all[given.Method]
	if serving.endpoint.shape != native.Unary {
		given.Stream()
	}
	go serving.run()
}

func (c *call) run() {
	given := &c.native
	given.OnCancel(c)
	answered := false
	defer func() {
		if !answered {
			// The handler ended its goroutine.
			given.Fail(&native.Error{Status: int32(errors.CodeInternal), ID: "micro", Message: c.endpoint.name + " ended without an answer"}, nil)
		}
		c.end(context.Canceled)
	}()
	if c.deliver != nil {
		c.receive()
		answered = true
		return
	}
	payload, err := c.answer()
	answered = true
	tail, wrong := c.tail()
	if err == nil {
		err = wrong
	}
	if err == nil {
		given.Reply(payload, tail)
	} else {
		given.Fail(errors.ToNative(err), tail)
	}
}

// answer runs the handler, and gives the last message of the answer.
func (c *call) answer() (payload []byte, err error) {
	one, name := c.served, c.endpoint.name
	defer func() {
		if panicked := recover(); panicked != nil {
			slog.Error("a handler panicked", "endpoint", name, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			// Its text was not meant for the caller, and it may be secret.
			payload, err = nil, errors.Newf(errors.CodeInternal, "micro", "%s failed: the log of its service says why", name)
		}
	}()
	shape := one.endpoint.shape
	hasOne := shape == native.Unary || shape == native.ServerStream
	var rsp any
	if one.endpoint.messages != nil {
		c.body, rsp = one.endpoint.messages()
	}
	if hasOne && c.body != nil {
		if err := codec.Decode(c.native.Payload, c.codec(), c.body, one.asked, errors.CodeInvalidArgument); err != nil {
			return nil, err
		}
	}
	if shape == native.Unary {
		if err := one.handle(c, c, rsp); err != nil {
			return nil, err
		}
		return codec.Encode(rsp, c.codec(), one.returned, true)
	}
	both := &stream{call: c, one: hasOne}
	if !hasOne {
		c.native.Begin()
	}
	if rsp == nil {
		return nil, one.handle(c, c, both)
	}
	with := &withReply{both, rsp}
	if err := one.handle(c, c, with); err != nil {
		return nil, err
	}
	return codec.Encode(with.reply, c.codec(), one.returned, true)
}

// withReply is the stream of an endpoint with one reply.
type withReply struct {
	Stream
	reply any
}

// ReplyTo is where the reply is written to.
func (w *withReply) ReplyTo() any { return w.reply }

// SetHealth says whether a service is ready. For the packages of this module.
func (r *rpc) SetHealth(service string, serving bool) error {
	running := r.Running()
	if running == nil {
		return NotRunning(r.opts.Name)
	}
	if failure := running.SetHealth(service, serving); failure != nil {
		return errors.FromNative(failure, nil)
	}
	return nil
}

// NotRunning is what is said of what needs a service that runs. For the packages of this module.
func NotRunning(name string) error {
	return errors.Newf(errors.CodeFailedPrecondition, "micro", "%s does not run: start it", name)
}
