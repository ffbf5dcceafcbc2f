package micro

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/registry"
)

// Provided is a registry that is provided under a name.
type Provided struct {
	name     string
	native   *native.Server
	registry registry.Registry
}

// Provide makes "host://name" the URL of a registry of the program's own, for services and clients of this process. A name has
// letters, digits, "-", "_" and "."; CodeAlreadyExists for one that is taken.
func Provide(name string, given registry.Registry) (*Provided, error) {
	runtime, err := native.Acquire()
	if err != nil {
		return nil, err
	}
	defer runtime.Release()
	made := &Provided{name: name, registry: given}
	serving, failure := native.Provide(runtime, native.AreaRegistry, name, made.serve)
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	made.native = serving
	return made, nil
}

// URL opens it in this process, such as "host://mine".
func (p *Provided) URL() string { return "host://" + p.name }

// Close withdraws the name, and returns when it is free. What was opened by it fails with CodeUnavailable. Harmless when repeated.
func (p *Provided) Close() error {
	p.native.Abort()
	<-p.native.Over()
	p.native.Free()
	return nil
}

func (p *Provided) serve(call *native.Inbound) {
	if call.Method == native.RegistryWatch {
		call.Stream()
	}
	go p.answer(call)
}

// ending ends a context with the call it is of.
type ending context.CancelFunc

func (e ending) Cancelled(int32) { e() }

// answer answers a question, and a panic in the registry with a failure.
func (p *Provided) answer(call *native.Inbound) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if call.Timeout != native.NoTimeout {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(min(call.Timeout, 1<<62)))
		defer stop()
	}
	call.OnCancel(ending(cancel))
	payload, err := p.ask(ctx, call)
	if err != nil {
		call.Fail(errors.ToNative(err), nil)
		return
	}
	call.Reply(payload, nil)
}

func (p *Provided) ask(ctx context.Context, call *native.Inbound) (payload []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			slog.Error("a registry panicked", "registry", p.URL(), "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			payload, err = nil, errors.Newf(errors.CodeInternal, "micro", "%s failed: the log of its program says why", p.URL())
		}
	}()
	var args struct {
		Service json.RawMessage `json:"service"`
		TTL     *float64        `json:"ttl"`
	}
	entries, _ := native.ReadMeta(call.Meta)
	for _, one := range entries {
		if one.Name == "micro-args-bin" {
			if err := json.Unmarshal([]byte(one.Value), &args); err != nil {
				return nil, err
			}
		}
	}
	var name string
	var record registry.Service
	switch call.Method {
	case native.RegistryGet, native.RegistryWatch:
		if len(args.Service) > 0 {
			err = json.Unmarshal(args.Service, &name)
		}
	case native.RegistryRegister, native.RegistryDeregister:
		err = json.Unmarshal(args.Service, &record)
	}
	if err != nil {
		return nil, err
	}
	switch call.Method {
	case native.RegistryGet:
		return records(p.registry.GetService(ctx, name))
	case native.RegistryList:
		return records(p.registry.ListServices(ctx))
	case native.RegistryRegister:
		var ttl time.Duration
		if args.TTL != nil {
			ttl = time.Duration(*args.TTL * float64(time.Millisecond))
		}
		return nil, p.registry.Register(ctx, &record, ttl)
	case native.RegistryDeregister:
		return nil, p.registry.Deregister(ctx, &record)
	case native.RegistryWatch:
		return nil, p.watch(ctx, call, name)
	}
	return nil, errors.Newf(errors.CodeUnimplemented, "micro", "nothing is known of operation %d", call.Method)
}

func records(found []*registry.Service, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if found == nil {
		found = []*registry.Service{}
	}
	return json.Marshal(found)
}

func (p *Provided) watch(ctx context.Context, call *native.Inbound, name string) error {
	watcher, err := p.registry.Watch(ctx, name)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	// Says that every change from now on will be told.
	if failure := call.Stream().Send(nil); failure != nil {
		return errors.FromNative(failure, nil)
	}
	for {
		change, err := watcher.Next(ctx)
		if err != nil {
			return err
		}
		told, err := json.Marshal(change)
		if err != nil {
			return err
		}
		if failure := call.Stream().Send(told); failure != nil {
			return errors.FromNative(failure, nil)
		}
	}
}
