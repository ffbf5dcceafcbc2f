package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/golang/protobuf/ptypes/any"
	"github.com/google/uuid"
	"github.com/micro/go-micro/v2/registry"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// frames passes message bytes through grpc-go untouched, under whatever content-subtype the test wants.
type frames struct{ subtype string }

func (frames) Marshal(v interface{}) ([]byte, error)      { return *v.(*[]byte), nil }
func (frames) Unmarshal(data []byte, v interface{}) error { *v.(*[]byte) = data; return nil }
func (f frames) Name() string                             { return f.subtype }
func (f frames) String() string                           { return f.subtype }

// wireCall is one call exactly as grpc-go puts it on the wire.
type wireCall struct {
	Address string `json:"address"`
	Path    string `json:"path"`
	// Content-subtype; empty sends plain application/grpc.
	Subtype  string              `json:"subtype"`
	Metadata map[string][]string `json:"metadata"`
	Messages [][]byte            `json:"messages"`
	// Leave the sending side open, as go-micro's streams and its gRPC proxy do.
	KeepOpen  bool  `json:"keepOpen"`
	TimeoutMs int64 `json:"timeoutMs"`
}

type wireOutcome struct {
	Messages [][]byte    `json:"messages"`
	Header   metadata.MD `json:"header"`
	Trailer  metadata.MD `json:"trailer"`
	Status   *grpcStatus `json:"status"`
}

func addWireCalls(l *lines) {
	l.on("wire", func(r *request) (interface{}, error) {
		ask := new(wireCall)
		if err := r.into(ask); err != nil {
			return nil, err
		}
		return ask.run()
	})
}

func (ask *wireCall) run() (*wireOutcome, error) {
	connection, err := grpc.Dial(ask.Address, grpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), milliseconds(ask.TimeoutMs, 5*time.Second))
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.MD(ask.Metadata))

	options := []grpc.CallOption{grpc.ForceCodec(frames{ask.Subtype}), grpc.CallContentSubtype(ask.Subtype)}
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	out := &wireOutcome{Messages: [][]byte{}}
	stream, err := connection.NewStream(ctx, both, ask.Path, options...)
	if err != nil {
		out.Status = describeStatus(status.Convert(err).Proto())
		return out, nil
	}
	for i := range ask.Messages {
		// A refused call shows up as the status below.
		if err := stream.SendMsg(&ask.Messages[i]); err != nil {
			break
		}
	}
	if !ask.KeepOpen {
		stream.CloseSend()
	}
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			out.Status = describeStatus(nil)
			break
		}
		if err != nil {
			out.Status = describeStatus(status.Convert(err).Proto())
			break
		}
		out.Messages = append(out.Messages, message)
	}
	out.Header, _ = stream.Header()
	out.Trailer = stream.Trailer()
	return out, nil
}

// wireServer is a grpc-go server that answers by script and tells what it was sent.
type wireServer struct {
	address string
	node    string
	server  *grpc.Server
	events  *events
	leave   func()

	mutex   sync.Mutex
	answers []answer
}

// answer is how the next call ends; the last one scripted repeats.
type answer struct {
	Header   map[string]string `json:"header"`
	Messages [][]byte          `json:"messages"`
	Trailer  map[string]string `json:"trailer"`
	Status   grpcStatus        `json:"status"`
	// Read up to the half-close before answering, instead of one message.
	ReadAll bool `json:"readAll"`
	// Never answer; the call ends when the caller ends it.
	Hang bool `json:"hang"`
}

func startWireServer(name, version, address string) (*wireServer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	w := &wireServer{address: listener.Addr().String(), events: newEvents(), leave: func() {}}
	w.server = grpc.NewServer(grpc.CustomCodec(frames{}), grpc.UnknownServiceHandler(w.handle))
	go w.server.Serve(listener)
	if name == "" {
		return w, nil
	}
	w.node = name + "-" + uuid.New().String()
	record := &registry.Service{
		Name:    name,
		Version: version,
		Nodes: []*registry.Node{{Id: w.node, Address: w.address, Metadata: map[string]string{
			"protocol": "grpc", "server": "grpc", "transport": "grpc", "registry": "mdns", "broker": "http",
		}}},
	}
	w.leave = func() { registry.DefaultRegistry.Deregister(record) }
	return w, registry.DefaultRegistry.Register(record)
}

func (w *wireServer) addTo(l *lines) {
	w.events.addTo(l)
	l.on("script", func(r *request) (interface{}, error) {
		var ask struct {
			Answers []answer `json:"answers"`
		}
		if err := r.into(&ask); err != nil {
			return nil, err
		}
		w.mutex.Lock()
		defer w.mutex.Unlock()
		w.answers = ask.Answers
		return map[string]interface{}{}, nil
	})
}

func (w *wireServer) stop() {
	w.leave()
	w.server.Stop()
}

func (w *wireServer) next() (answer, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.answers) == 0 {
		return answer{}, fmt.Errorf("the test gave no script")
	}
	first := w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	}
	return first, nil
}

func (w *wireServer) handle(_ interface{}, stream grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(stream)
	sent, _ := metadata.FromIncomingContext(stream.Context())
	seen := event{"path": path, "metadata": sent, "halfClosed": false}
	if deadline, ok := stream.Context().Deadline(); ok {
		seen["remainingMs"] = time.Until(deadline).Milliseconds()
	}
	reply, err := w.next()
	if err != nil {
		w.events.add("call", seen)
		return err
	}

	messages := [][]byte{}
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			seen["halfClosed"] = true
			break
		}
		if err != nil {
			seen["broken"] = err.Error()
			break
		}
		messages = append(messages, message)
		if !reply.ReadAll {
			break
		}
	}
	seen["messages"] = messages
	w.events.add("call", seen)

	if reply.Hang {
		<-stream.Context().Done()
		w.events.add("callEnd", event{"path": path, "outcome": stream.Context().Err().Error()})
		return stream.Context().Err()
	}
	stream.SetHeader(metadata.New(reply.Header))
	stream.SetTrailer(metadata.New(reply.Trailer))
	for i := range reply.Messages {
		if err := stream.SendMsg(&reply.Messages[i]); err != nil {
			return err
		}
	}
	if reply.Status.Code == 0 {
		return nil
	}
	s := &spb.Status{Code: reply.Status.Code, Message: reply.Status.Message}
	for _, d := range reply.Status.Details {
		s.Details = append(s.Details, &any.Any{TypeUrl: d.Type, Value: d.Value})
	}
	return status.FromProto(s).Err()
}
