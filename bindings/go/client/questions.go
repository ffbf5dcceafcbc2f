package client

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/internal/scope"
	"github.com/micro/micro/bindings/go/registry"
)

// question makes one of names and values in turn.
func question(ctx context.Context, operation uint32, args ...any) (*native.Question, error) {
	if err := ctx.Err(); err != nil {
		return nil, over(err)
	}
	parent := scope.Parent(ctx)
	left, err := timeout(ctx, parent, 0, false)
	if err != nil {
		return nil, err
	}
	made := &native.Question{Operation: operation, Args: map[string]any{}, Timeout: left}
	if parent != nil {
		made.Parent = parent.ID
	}
	for at := 0; at < len(args); at += 2 {
		made.Args[args[at].(string)] = args[at+1]
	}
	return made, nil
}

// Ask asks with a client of the core. For the packages of this module.
func Ask(ctx context.Context, client *native.Client, operation uint32, args ...any) ([]byte, error) {
	asked, err := question(ctx, operation, args...)
	if err != nil {
		return nil, err
	}
	result := client.Ask(ctx, asked)
	if result.Err != nil {
		return nil, errors.FromNative(result.Err, result.Meta)
	}
	return result.Payload, nil
}

func (r *rpc) ask(ctx context.Context, operation uint32, args ...any) ([]byte, error) {
	client, err := r.open()
	if err != nil {
		return nil, err
	}
	return Ask(ctx, client, operation, args...)
}

func decoded[T any](payload []byte, err error) (made T, _ error) {
	if err != nil {
		return made, err
	}
	return registry.Decode[T](payload)
}

func (r *rpc) Lookup(ctx context.Context, service string) ([]*registry.Service, error) {
	return decoded[[]*registry.Service](r.ask(ctx, native.RegistryGet, "service", service))
}

func (r *rpc) Services(ctx context.Context) ([]*registry.Service, error) {
	return decoded[[]*registry.Service](r.ask(ctx, native.RegistryList))
}

func (r *rpc) Register(ctx context.Context, service *registry.Service, opts ...RegisterOption) error {
	var terms registerOptions
	for _, opt := range opts {
		opt(&terms)
	}
	args := []any{"service", service}
	if terms.ttl != 0 {
		args = append(args, "ttl", fmt.Sprintf("%.9fs", terms.ttl.Seconds()))
	}
	_, err := r.ask(ctx, native.RegistryRegister, args...)
	return err
}

func (r *rpc) Deregister(ctx context.Context, service *registry.Service) error {
	_, err := r.ask(ctx, native.RegistryDeregister, "service", service)
	return err
}

func (r *rpc) Health(ctx context.Context, service string) ([]registry.Health, error) {
	return decoded[[]registry.Health](r.ask(ctx, native.ClientHealth, "service", service))
}

func (r *rpc) Nodes(ctx context.Context, service string) ([]registry.KnownNode, error) {
	return decoded[[]registry.KnownNode](r.ask(ctx, native.ClientNodes, "service", service))
}

func (r *rpc) Stats(ctx context.Context) ([]byte, error) { return r.ask(ctx, native.ClientStats) }

// Watch is changes of a registry.
type Watch struct {
	ctx      context.Context
	native   *native.Stream
	unfollow func() bool
}

// WatchOption sets how a watch begins.
type WatchOption func(*watchOptions)

type watchOptions struct {
	service string
	timeout time.Duration
}

// WatchService tells changes of one service alone.
func WatchService(service string) WatchOption {
	return func(o *watchOptions) { o.service = service }
}

// WatchTimeout is how long its beginning may take; 10 s unless set.
func WatchTimeout(timeout time.Duration) WatchOption {
	return func(o *watchOptions) { o.timeout = timeout }
}

func (r *rpc) Watch(ctx context.Context, opts ...WatchOption) (*Watch, error) {
	var terms watchOptions
	for _, opt := range opts {
		opt(&terms)
	}
	client, err := r.open()
	if err != nil {
		return nil, err
	}
	args := []any{}
	if terms.service != "" {
		args = append(args, "service", terms.service)
	}
	asked, err := question(ctx, native.RegistryWatch, args...)
	if err != nil {
		return nil, err
	}
	// What the context has left is for the whole of it.
	asked.Timeout = uint64(terms.timeout)
	opened, unfollow, err := follow(ctx, client, asked)
	if err != nil {
		return nil, err
	}
	return &Watch{ctx, opened, unfollow}, nil
}

// follow returns once what was asked is followed; that ends when the context does, unless that is undone.
func follow(ctx context.Context, client *native.Client, asked *native.Question) (*native.Stream, func() bool, error) {
	opened, failure := client.Follow(asked)
	if failure != nil {
		return nil, nil, errors.FromNative(failure, nil)
	}
	unfollow := context.AfterFunc(ctx, opened.Cancel)
	// It does end when the context does.
	if _, err := opened.Opened(context.WithoutCancel(ctx)); err != nil {
		return nil, nil, err
	}
	if meta, failure, over := opened.End(); over && failure != nil {
		unfollow()
		return nil, nil, errors.FromNative(failure, meta)
	}
	return opened, unfollow, nil
}

// Next waits for the next change. CodeAborted when it fell too far behind and should begin anew, CodeCanceled once it is stopped.
func (w *Watch) Next() (*registry.Result, error) {
	message, ok := w.native.Next()
	if !ok {
		w.unfollow()
		meta, failure, _ := w.native.End()
		if failure == nil {
			return nil, errors.Newf(errors.CodeCanceled, "micro", "the watch is over")
		}
		return nil, errors.FromNative(failure, meta)
	}
	return registry.Decode[*registry.Result](message.Payload)
}

// All is the changes, until one is an error.
func (w *Watch) All() iter.Seq2[*registry.Result, error] {
	return func(yield func(*registry.Result, error) bool) {
		defer w.Stop()
		for {
			change, err := w.Next()
			if !yield(change, err) || err != nil {
				return
			}
		}
	}
}

// Stop ends it; harmless when repeated.
func (w *Watch) Stop() {
	w.unfollow()
	w.native.Cancel()
}
