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

// Provided is a registry or a broker that is provided under a name.
type Provided struct {
	name   string
	what   string
	native *native.Server
	// The operation whose answer is a stream, and what answers all of them.
	streams uint32
	answers func(ctx context.Context, call *native.Inbound) ([]byte, error)
}

// Provide makes "host://name" the URL of a registry of the program's own, for services and clients of this process. A name has
// letters, digits, "-", "_" and "."; CodeAlreadyExists for one that is taken.
func Provide(name string, given registry.Registry) (*Provided, error) {
	made := &Provided{name: name, what: "registry", streams: native.RegistryWatch}
	made.answers = func(ctx context.Context, call *native.Inbound) ([]byte, error) { return askRegistry(ctx, given, call) }
	return made.provide(native.AreaRegistry)
}

func (p *Provided) provide(area uint32) (*Provided, error) {
	runtime, err := native.Acquire()
	if err != nil {
		return nil, err
	}
	defer runtime.Release()
	serving, failure := native.Provide(runtime, area, p.name, p.serve)
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	p.native = serving
	return p, nil
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
	if call.Method == p.streams {
		call.Stream()
	}
	go p.answer(call)
}

// ending ends a context with the call it is of.
type ending context.CancelFunc

func (e ending) Cancelled(int32) { e() }

// answer answers a question, and a panic in what is provided with a failure.
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
			slog.Error("a "+p.what+" panicked", p.what, p.URL(), "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			payload, err = nil, p.panicked()
		}
	}()
	return p.answers(ctx, call)
}

func (p *Provided) panicked() error {
	return errors.Newf(errors.CodeInternal, "micro", "%s failed: the log of its program says why", p.URL())
}

// asked reads the arguments of a question, and gives the metadata that came beside them.
func asked(call *native.Inbound, args any) (others []native.Entry, err error) {
	entries, _ := native.ReadMeta(call.Meta)
	for _, one := range entries {
		if one.Name != "micro-args-bin" {
			others = append(others, one)
		} else if err := json.Unmarshal([]byte(one.Value), args); err != nil {
			return nil, err
		}
	}
	return others, nil
}

func unknown(call *native.Inbound) error {
	return errors.Newf(errors.CodeUnimplemented, "micro", "nothing is known of operation %d", call.Method)
}

func askRegistry(ctx context.Context, given registry.Registry, call *native.Inbound) ([]byte, error) {
	var args struct {
		Service json.RawMessage `json:"service"`
		TTL     *float64        `json:"ttl"`
	}
	_, err := asked(call, &args)
	if err != nil {
		return nil, err
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
		return records(given.GetService(ctx, name))
	case native.RegistryList:
		return records(given.ListServices(ctx))
	case native.RegistryRegister:
		var ttl time.Duration
		if args.TTL != nil {
			ttl = time.Duration(*args.TTL * float64(time.Millisecond))
		}
		return nil, given.Register(ctx, &record, ttl)
	case native.RegistryDeregister:
		return nil, given.Deregister(ctx, &record)
	case native.RegistryWatch:
		return nil, watch(ctx, given, call, name)
	}
	return nil, unknown(call)
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

func watch(ctx context.Context, given registry.Registry, call *native.Inbound, name string) error {
	watcher, err := given.Watch(ctx, name)
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
