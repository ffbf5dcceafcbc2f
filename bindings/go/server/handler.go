package server

import (
	"context"
	"fmt"
	"reflect"

	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/document"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/registry"
)

// endpoint is one function that is served.
type endpoint struct {
	name  string
	shape uint32
	// Where the request is read into, and the reply is written to: nil for what streams.
	messages func() (request, response any)
	handle   HandlerFunc
	// Types of the messages, for those who describe it.
	in, out reflect.Type
	opts    HandlerOptions
}

// Endpoint is a function with its types, which micro.Handle and its kin make. For the packages of this module.
type Endpoint struct {
	Name  string
	Shape uint32
	// Messages makes what the request is read into, and the reply is written to: nil for what streams.
	Messages func() (request, response any)
	Handle   HandlerFunc
	In, Out  reflect.Type
}

type handler struct {
	name      string
	value     any
	endpoints []*endpoint
	opts      HandlerOptions
	err       error
}

// Of makes a handler of one endpoint. For the packages of this module.
func Of(made Endpoint, opts ...HandlerOption) Handler {
	one := &endpoint{
		name:     made.Name,
		shape:    made.Shape,
		messages: made.Messages,
		handle:   made.Handle,
		in:       made.In,
		out:      made.Out,
	}
	whole := &handler{name: made.Name, endpoints: []*endpoint{one}}
	whole.apply(opts)
	return whole
}

func (h *handler) apply(opts []HandlerOption) {
	for _, opt := range opts {
		opt(&h.opts)
	}
	for _, one := range h.endpoints {
		one.opts = h.opts
		one.opts.document = h.opts.document.Copy()
		if labels, ok := h.opts.Metadata[one.name]; ok {
			one.opts.set("metadata", labels)
		}
	}
}

func (h *handler) Name() string            { return h.name }
func (h *handler) Handler() any            { return h.value }
func (h *handler) Options() HandlerOptions { return h.opts }

func (h *handler) Endpoints() []*registry.Endpoint {
	var made []*registry.Endpoint
	for _, one := range h.endpoints {
		made = append(made, &registry.Endpoint{Name: one.name, Metadata: h.opts.Metadata[one.name]})
	}
	return made
}

var (
	contexts = reflect.TypeFor[context.Context]()
	failures = reflect.TypeFor[error]()
	streams  = reflect.TypeFor[Stream]()
)

// newHandler makes endpoints of the methods of a value.
func newHandler(value any, opts ...HandlerOption) *handler {
	of := reflect.ValueOf(value)
	kind := reflect.TypeOf(value)
	made := &handler{value: value}
	if !of.IsValid() {
		made.err = fmt.Errorf("the handler is nil: give a pointer to a value with methods")
		return made
	}
	made.name = reflect.Indirect(of).Type().Name()
	for index := range kind.NumMethod() {
		method := kind.Method(index)
		if one := newEndpoint(made.name+"."+method.Name, of.Method(index)); one != nil {
			made.endpoints = append(made.endpoints, one)
		}
	}
	if len(made.endpoints) == 0 {
		made.err = fmt.Errorf("%T has no method such as Hello(context.Context, *Request, *Response) error", value)
	}
	made.apply(opts)
	return made
}

func newEndpoint(name string, method reflect.Value) *endpoint {
	kind := method.Type()
	if kind.NumOut() != 1 || kind.Out(0) != failures || kind.NumIn() < 2 || kind.In(0) != contexts {
		return nil
	}
	made := &endpoint{name: name}
	switch {
	case kind.NumIn() == 2 && kind.In(1).Kind() == reflect.Interface && kind.In(1).Implements(streams):
		made.shape = native.BidiStream
		made.handle = func(ctx context.Context, _ Request, rsp any) error {
			return failed(method.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(rsp)}))
		}
	case kind.NumIn() == 3 && kind.In(2).Kind() == reflect.Pointer:
		in, out := kind.In(1), kind.In(2)
		made.in, made.out = in, out
		request := in
		if in.Kind() == reflect.Pointer {
			request = in.Elem()
		}
		made.messages = func() (any, any) { return reflect.New(request).Interface(), reflect.New(out.Elem()).Interface() }
		made.handle = func(ctx context.Context, req Request, rsp any) error {
			body := reflect.ValueOf(req.Body())
			if in.Kind() != reflect.Pointer {
				body = body.Elem()
			}
			return failed(method.Call([]reflect.Value{reflect.ValueOf(ctx), body, reflect.ValueOf(rsp)}))
		}
	default:
		return nil
	}
	return made
}

func failed(out []reflect.Value) error {
	err, _ := out[0].Interface().(error)
	return err
}

// settings is the endpoint's document.
func (e *endpoint) settings() ([]byte, error) {
	made := e.opts.document.Copy()
	if e.opts.Document != "" {
		made.Read(e.opts.Document)
	}
	_, told := made.Get("request")
	if !told {
		describe(&made, e.in, e.out)
	}
	return made.JSON()
}

// describe has reflection know protobuf messages, and others know the names of types.
func describe(made *document.Document, in, out reflect.Type) {
	request, response := message(in), message(out)
	if request == nil || response == nil {
		if in != nil && out != nil {
			made.Set("request", typeName(in))
			made.Set("response", typeName(out))
		}
		return
	}
	made.Set("request", string(request.FullName()))
	made.Set("response", string(response.FullName()))
	if set := codec.Descriptors(request.ParentFile(), response.ParentFile()); set != "" {
		made.Set("descriptors", set)
	}
}

func typeName(kind reflect.Type) string {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if kind == reflect.TypeFor[[]byte]() {
		return "bytes"
	}
	if name := kind.Name(); name != "" {
		return name
	}
	return kind.String()
}
