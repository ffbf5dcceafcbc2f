package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/golang/protobuf/jsonpb"
	"github.com/golang/protobuf/proto"
	"github.com/micro/go-micro/v2/client"
	"github.com/micro/go-micro/v2/codec/bytes"
	"github.com/micro/go-micro/v2/debug/service/proto"
	"github.com/micro/go-micro/v2/debug/trace"
	"github.com/micro/go-micro/v2/metadata"
	"github.com/micro/go-micro/v2/registry"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"peer/greeter"
)

// call is what a test asks the go-micro client to do.
type call struct {
	Service     string            `json:"service"`
	Endpoint    string            `json:"endpoint"`
	Address     string            `json:"address"`
	ContentType string            `json:"contentType"`
	Metadata    map[string]string `json:"metadata"`
	// The request as proto JSON; a greeter or Debug.Health message.
	Request json.RawMessage `json:"request"`
	// The request as it goes on the wire, base64; the response comes back the same way.
	Frame     []byte `json:"frame"`
	TimeoutMs int64  `json:"timeoutMs"`
	// A deadline on the caller's context, which go-micro passes on instead of the request timeout.
	DeadlineMs int64 `json:"deadlineMs"`
	Retries    *int  `json:"retries"`
}

// outcome is what became of a call.
type outcome struct {
	Response json.RawMessage `json:"response,omitempty"`
	Frame    []byte          `json:"frame,omitempty"`
	Error    *failed         `json:"error,omitempty"`
	// One address per attempt.
	Nodes     []string `json:"nodes"`
	ElapsedMs int64    `json:"elapsedMs"`
}

func addCalls(l *lines, c client.Client) {
	l.on("call", func(r *request) (interface{}, error) {
		var ask call
		if err := r.into(&ask); err != nil {
			return nil, err
		}
		return ask.run(c)
	})
	addStreams(l, c)
	l.on("spans", func(*request) (interface{}, error) {
		return trace.DefaultTracer.Read()
	})
}

func (ask *call) context() (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if len(ask.Metadata) > 0 {
		ctx = metadata.NewContext(ctx, ask.Metadata)
	}
	if ask.DeadlineMs > 0 {
		return context.WithTimeout(ctx, milliseconds(ask.DeadlineMs, 0))
	}
	return context.WithCancel(ctx)
}

func (ask *call) options() []client.CallOption {
	var options []client.CallOption
	if ask.Address != "" {
		options = append(options, client.WithAddress(ask.Address))
	}
	if ask.TimeoutMs > 0 {
		options = append(options, client.WithRequestTimeout(milliseconds(ask.TimeoutMs, 0)))
	}
	if ask.Retries != nil {
		options = append(options, client.WithRetries(*ask.Retries))
	}
	return options
}

func (ask *call) request(c client.Client, body interface{}, options ...client.RequestOption) client.Request {
	if ask.ContentType != "" {
		options = append(options, client.WithContentType(ask.ContentType))
	}
	return c.NewRequest(ask.Service, ask.Endpoint, body, options...)
}

func (ask *call) run(c client.Client) (*outcome, error) {
	var body, reply interface{}
	frame := &bytes.Frame{}
	if ask.Frame != nil {
		body, reply = &bytes.Frame{Data: ask.Frame}, frame
	} else {
		input, output, err := messages(ask.Endpoint)
		if err != nil {
			return nil, err
		}
		if err := decode(ask.Request, input); err != nil {
			return nil, err
		}
		body, reply = input, output
	}

	ctx, cancel := ask.context()
	defer cancel()
	out := &outcome{Nodes: []string{}}
	var mutex sync.Mutex
	attempts := func(next client.CallFunc) client.CallFunc {
		return func(ctx context.Context, node *registry.Node, req client.Request, rsp interface{}, opts client.CallOptions) error {
			mutex.Lock()
			out.Nodes = append(out.Nodes, node.Address)
			mutex.Unlock()
			return next(ctx, node, req, rsp, opts)
		}
	}
	began := time.Now()
	err := c.Call(ctx, ask.request(c, body), reply, append(ask.options(), client.WithCallWrapper(attempts))...)
	// An attempt that outlives its call must not touch what is being written out.
	mutex.Lock()
	defer mutex.Unlock()
	done := *out
	done.Nodes = append([]string{}, out.Nodes...)
	done.ElapsedMs = time.Since(began).Milliseconds()
	if err != nil {
		done.Error = describe(err)
		return &done, nil
	}
	if ask.Frame != nil {
		done.Frame = frame.Data
		return &done, nil
	}
	done.Response, err = encode(reply.(proto.Message))
	return &done, err
}

// messages gives fresh request and response messages of an endpoint.
func messages(endpoint string) (proto.Message, proto.Message, error) {
	if endpoint == "Debug.Health" {
		return new(debug.HealthRequest), new(debug.HealthResponse), nil
	}
	// Any way of writing the endpoint that ends in /Method or .Method is about the same message types.
	name := endpoint[strings.LastIndexAny(endpoint, "./")+1:]
	method := greeter.File_greeter_proto.Services().ByName("Greeter").Methods().ByName(protoreflect.Name(name))
	if method == nil {
		return nil, nil, fmt.Errorf("no message types are known for %q: send a frame", endpoint)
	}
	input, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return nil, nil, err
	}
	output, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, nil, err
	}
	return proto.MessageV1(input.New().Interface()), proto.MessageV1(output.New().Interface()), nil
}

func decode(text json.RawMessage, into proto.Message) error {
	if len(text) == 0 {
		return nil
	}
	return jsonpb.UnmarshalString(string(text), into)
}

// encode writes every field under its proto name, so that a test can compare whole messages.
func encode(m proto.Message) (json.RawMessage, error) {
	text, err := (&jsonpb.Marshaler{OrigName: true, EmitDefaults: true}).MarshalToString(m)
	return json.RawMessage(text), err
}

// openStream is a stream and the message type it receives.
type openStream struct {
	stream client.Stream
	cancel context.CancelFunc
	call   *call
}

func addStreams(l *lines, c client.Client) {
	var mutex sync.Mutex
	open := map[string]*openStream{}

	type ask struct {
		call
		Stream    string `json:"stream"`
		TimeoutMs int64  `json:"timeoutMs"`
	}
	find := func(r *request) (*openStream, *ask, error) {
		a := new(ask)
		if err := r.into(a); err != nil {
			return nil, nil, err
		}
		mutex.Lock()
		defer mutex.Unlock()
		s, ok := open[a.Stream]
		if !ok {
			return nil, nil, fmt.Errorf("no stream %q is open", a.Stream)
		}
		return s, a, nil
	}
	over := func(err error) map[string]interface{} {
		if err == io.EOF {
			return map[string]interface{}{"end": true}
		}
		return map[string]interface{}{"error": describe(err)}
	}

	l.on("streamOpen", func(r *request) (interface{}, error) {
		a := new(ask)
		if err := r.into(a); err != nil {
			return nil, err
		}
		if _, _, err := messages(a.Endpoint); err != nil {
			return nil, err
		}
		ctx, cancel := a.context()
		stream, err := c.Stream(ctx, a.request(c, nil, client.StreamingRequest()), a.options()...)
		if err != nil {
			cancel()
			return over(err), nil
		}
		mutex.Lock()
		defer mutex.Unlock()
		open[a.Stream] = &openStream{stream, cancel, &a.call}
		return map[string]interface{}{}, nil
	})
	l.on("streamSend", func(r *request) (interface{}, error) {
		s, a, err := find(r)
		if err != nil {
			return nil, err
		}
		message, _, err := messages(s.call.Endpoint)
		if err != nil {
			return nil, err
		}
		if err := decode(a.Request, message); err != nil {
			return nil, err
		}
		if err := s.stream.Send(message); err != nil {
			return over(err), nil
		}
		return map[string]interface{}{}, nil
	})
	l.on("streamReceive", func(r *request) (interface{}, error) {
		s, a, err := find(r)
		if err != nil {
			return nil, err
		}
		_, message, err := messages(s.call.Endpoint)
		if err != nil {
			return nil, err
		}
		received := make(chan error, 1)
		go func() { received <- s.stream.Recv(message) }()
		wait := milliseconds(a.TimeoutMs, 5*time.Second)
		select {
		case err := <-received:
			if err != nil {
				return over(err), nil
			}
			text, err := encode(message)
			return map[string]interface{}{"message": text}, err
		case <-time.After(wait):
			return nil, fmt.Errorf("nothing arrived on stream %q within %v", a.Stream, wait)
		}
	})
	// Closing is all a go-micro client can do: it cannot half-close.
	l.on("streamClose", func(r *request) (interface{}, error) {
		s, a, err := find(r)
		if err != nil {
			return nil, err
		}
		mutex.Lock()
		delete(open, a.Stream)
		mutex.Unlock()
		defer s.cancel()
		if err := s.stream.Close(); err != nil {
			return over(err), nil
		}
		return map[string]interface{}{}, nil
	})
}
