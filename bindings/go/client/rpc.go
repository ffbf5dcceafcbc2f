package client

import (
	"context"
	"sync"
	"time"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/internal/scope"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/registry"
)

// rpc is the client of the core.
type rpc struct {
	lock   sync.RWMutex
	opts   Options
	client *native.Client
	// Of a service that runs: it closes the client itself.
	lent   bool
	closed bool
}

// NewClient makes a client. It is opened by its first call, and lives until it is closed.
func NewClient(opts ...Option) Client {
	made := &rpc{opts: Options{Context: context.Background()}}
	for _, opt := range opts {
		opt(&made.opts)
	}
	return wrapped(made, made.opts.Wrappers)
}

func wrapped(made Client, wrappers []Wrapper) Client {
	for at := len(wrappers); at > 0; at-- {
		made = wrappers[at-1](made)
	}
	return made
}

// Slot is where a service puts the client that calls in its name, while it runs. For the packages of this module.
type Slot struct{ rpc *rpc }

// NewOfService makes the client of a service, and its slot. For the packages of this module.
func NewOfService(opts Options) (Client, *Slot) {
	made := &rpc{opts: opts}
	return wrapped(made, opts.Wrappers), &Slot{made}
}

// Lend has calls made with a client until the next time.
func (s *Slot) Lend(client *native.Client) {
	s.rpc.lock.Lock()
	before, own := s.rpc.client, !s.rpc.lent
	s.rpc.client, s.rpc.lent = client, client != nil
	s.rpc.lock.Unlock()
	if before != nil && own {
		before.Close()
	}
}

// Options are those of a client, for the document of its service. For the packages of this module.
func (s *Slot) Options() Options { return s.rpc.Options() }

// Apply changes options, and gives the client with all its wrappers. For the packages of this module.
func (s *Slot) Apply(opts ...Option) Client {
	s.rpc.lock.Lock()
	defer s.rpc.lock.Unlock()
	for _, opt := range opts {
		opt(&s.rpc.opts)
	}
	return wrapped(s.rpc, s.rpc.opts.Wrappers)
}

// Fields are the keys of a client's document. For the packages of this module.
func (o *Options) Fields() map[string]any { return o.document.Fields() }

func (r *rpc) Init(opts ...Option) error {
	r.lock.Lock()
	for _, opt := range opts {
		opt(&r.opts)
	}
	before := r.client
	if r.lent {
		r.lock.Unlock()
		return nil
	}
	r.client = nil
	r.lock.Unlock()
	if before != nil {
		before.Close()
	}
	return nil
}

func (r *rpc) Options() Options {
	r.lock.RLock()
	defer r.lock.RUnlock()
	return r.opts
}

func (r *rpc) String() string { return "micro" }

// open is the client of the core, made by the first call.
func (r *rpc) open() (*native.Client, error) {
	r.lock.RLock()
	client, closed := r.client, r.closed
	r.lock.RUnlock()
	if client != nil && !closed {
		return client, nil
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.closed {
		return nil, errors.FromNative(&native.Error{Status: native.Closed, ID: "micro", Message: "this client is closed: make a new one"}, nil)
	}
	if r.client != nil {
		return r.client, nil
	}
	document, err := r.opts.document.JSON()
	if err != nil {
		return nil, errors.Newf(errors.CodeInvalidArgument, "micro", "%s", err)
	}
	runtime, err := native.Acquire()
	if err != nil {
		return nil, opened(err)
	}
	defer runtime.Release()
	made, failure := native.NewClient(runtime, document)
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	r.client = made
	return made, nil
}

func opened(err error) error {
	if failure, ok := err.(*native.Error); ok {
		return errors.FromNative(failure, nil)
	}
	return err
}

func (r *rpc) Close() error {
	r.lock.Lock()
	before := r.client
	if r.lent {
		before = nil
	}
	r.client, r.closed = nil, true
	r.lock.Unlock()
	if before != nil {
		before.Close()
	}
	return nil
}

// terms are those of a call.
func (r *rpc) terms(opts []CallOption) CallOptions {
	r.lock.RLock()
	defer r.lock.RUnlock()
	if len(opts) == 0 {
		return r.opts.CallOptions
	}
	terms := r.opts.CallOptions
	terms.document = terms.document.Copy()
	for _, opt := range opts {
		opt(&terms)
	}
	return terms
}

// noNode is what call wrappers see instead of a node.
var noNode = &registry.Node{}

func (r *rpc) Call(ctx context.Context, req Request, rsp any, opts ...CallOption) error {
	terms := r.terms(opts)
	if len(terms.CallWrappers) == 0 {
		return r.call(ctx, noNode, req, rsp, terms)
	}
	call := r.call
	for at := len(terms.CallWrappers); at > 0; at-- {
		call = terms.CallWrappers[at-1](call)
	}
	return call(ctx, noNode, req, rsp, terms)
}

func (r *rpc) call(ctx context.Context, _ *registry.Node, req Request, rsp any, terms CallOptions) error {
	request, err := r.request(ctx, req, &terms, native.Unary)
	if err != nil {
		return err
	}
	client, err := r.open()
	if err != nil {
		return err
	}
	request.WithMeta = terms.header != nil || terms.trailer != nil
	result := client.Call(ctx, &request)
	if request.WithMeta {
		headers, trailers := native.ReadMeta(result.Meta)
		put(terms.header, headers)
		put(terms.trailer, trailers)
	}
	if result.Err != nil {
		return errors.FromNative(result.Err, result.Meta)
	}
	return codec.Decode(result.Payload, uint32(result.Flags)&native.CodecMask, rsp, "the reply", errors.CodeInternal)
}

func put(into *metadata.MD, entries []native.Entry) {
	if into != nil {
		*into = metadata.FromEntries(entries)
	}
}

// request makes one as the core takes it, with all that the context says.
func (r *rpc) request(ctx context.Context, req Request, terms *CallOptions, shape uint32) (native.Request, error) {
	if err := ctx.Err(); err != nil {
		return native.Request{}, over(err)
	}
	made := native.Request{
		Service:  req.Service(),
		Endpoint: req.Endpoint(),
		Flags:    native.Wait | terms.flags,
		Shape:    shape,
	}
	kind, err := r.kind(req, terms)
	if err != nil {
		return made, err
	}
	made.Flags |= kind
	if shape == native.Unary || shape == native.ServerStream {
		if made.Payload, err = codec.Encode(req.Body(), kind, "the request", false); err != nil {
			return made, err
		}
	}
	var parent *native.Inbound
	if !terms.detached {
		if parent = scope.Parent(ctx); parent != nil {
			made.Parent = parent.ID
		}
	}
	given := terms.RequestTimeout
	if shape != native.Unary {
		given = terms.StreamTimeout
	}
	if made.Timeout, err = timeout(ctx, parent, given, terms.noDeadline); err != nil {
		return made, err
	}
	if made.Meta, err = headers(ctx, terms.metadata); err != nil {
		return made, err
	}
	if !terms.document.Empty() {
		if made.Options, err = terms.document.JSON(); err != nil {
			return made, errors.Newf(errors.CodeInvalidArgument, "micro", "%s", err)
		}
	}
	return made, nil
}

// headers is the block of those of a context and of others.
func headers(ctx context.Context, more metadata.MD) ([]byte, error) {
	md := metadata.Outgoing(ctx)
	if more != nil {
		if md == nil {
			md = metadata.MD{}
		}
		for name, values := range more {
			md.Set(name, values...)
		}
	}
	if len(md) == 0 {
		return nil, nil
	}
	block, failure := native.Meta(md.Entries())
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	return block, nil
}

// kind is the codec of a request: as it says, as the client says, or by its type.
func (r *rpc) kind(req Request, terms *CallOptions) (uint32, error) {
	said := req.ContentType()
	if said == "" {
		if _, told := terms.document.Get("content_type"); !told {
			r.lock.RLock()
			said = r.opts.ContentType
			r.lock.RUnlock()
		}
	}
	if said == "" {
		if asked, ok := req.(*request); ok && asked.codec != nil {
			return *asked.codec, nil
		}
		return codec.Natural(req.Body()), nil
	}
	return spoken(said)
}

// contentType is the codec of a message: as it says, as the client says, or by its type.
func (r *rpc) contentType(said string, message any) (uint32, error) {
	if said == "" {
		r.lock.RLock()
		said = r.opts.ContentType
		r.lock.RUnlock()
	}
	if said == "" {
		return codec.Natural(message), nil
	}
	return spoken(said)
}

func spoken(said string) (uint32, error) {
	kind, ok := codec.ByContentType(said)
	if !ok {
		return 0, errors.Newf(errors.CodeInvalidArgument, "micro",
			`content type %q is unknown: write "application/json", "application/protobuf" or "application/grpc+bytes"`, said)
	}
	return kind, nil
}

func over(err error) error {
	code := errors.CodeCanceled
	if err == context.DeadlineExceeded {
		code = errors.CodeDeadlineExceeded
	}
	return errors.Newf(code, "micro", "%s", err)
}

// timeout is the least of what was given and what the context has left, in nanoseconds; 0 is the client's own. The deadline of
// the call that is served is the core's to keep: it may leave less.
func timeout(ctx context.Context, parent *native.Inbound, given time.Duration, never bool) (uint64, error) {
	deadline, ok := ctx.Deadline()
	if !ok || parent != nil && deadline.Equal(parent.Deadline) {
		switch {
		case never:
			return native.NoTimeout, nil
		case given > 0:
			return uint64(given), nil
		}
		return 0, nil
	}
	left := time.Until(deadline)
	if left <= 0 {
		return 0, over(context.DeadlineExceeded)
	}
	if given > 0 && given < left {
		left = given
	}
	return uint64(left), nil
}
