// Package micro is services that find each other by name and call each other: go-micro's names, over the core in libmicro.
//
//	service := micro.NewService(micro.Name("greeter"))
//	micro.Handle(service, "Greeter.Hello", func(ctx context.Context, name string) (string, error) {
//		return "Hello, " + name + "!", nil
//	})
//	err := service.Run()
//
//	reply, err := micro.Call[string](ctx, service.Client(), "greeter", "Greeter.Hello", "Ada")
package micro

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/registry"
	"github.com/micro/micro/bindings/go/server"
)

// Service serves endpoints under a name, and calls other services.
type Service interface {
	// Name is what callers call it by.
	Name() string
	// Init adds options, before it is started.
	Init(opts ...Option)
	// Options are those it has.
	Options() Options
	// Client calls in its name while it runs, and by itself otherwise.
	Client() client.Client
	// Server has its endpoints.
	Server() server.Server
	// Run serves until the context of its options is done, Stop is called, or the program is told to end: SIGTERM, SIGINT and
	// SIGQUIT stop it in order, a second one at once. With Args it prints what --help and --version ask for, and returns nil.
	Run() error
	// String is its kind.
	String() string

	// Start listens and registers; it returns when callers may come.
	Start() error
	// Stop deregisters, finishes running calls within the grace, and returns when that is done; harmless when repeated.
	Stop() error
	// Close stops it and lets its client go; it cannot be used any more.
	Close() error
	// Record is the service as it is registered, while it runs; nil otherwise.
	Record() *registry.Service
	// Address is "host:port" it is reached at, while it runs; empty otherwise.
	Address() string
	// SetHealth says whether it is ready, as health checks ask. CodeFailedPrecondition while it does not run.
	SetHealth(serving bool) error
	// Explain is every setting with its value and what set it, as a start would find them now.
	Explain() ([]Setting, error)
	// Stats is what the service has seen so far, as JSON: calls by caller and endpoint, running calls, calls it refused.
	Stats(ctx context.Context) ([]byte, error)
	// Jobs are those of the service: when each runs next, and what became of its last runs.
	Jobs(ctx context.Context) ([]server.JobStatus, error)
}

type service struct {
	opts   Options
	server *server.Native
	client client.Client
	slot   *client.Slot

	lock     sync.Mutex
	stopping bool
	stopped  chan struct{}
}

// NewService makes a service.
func NewService(opts ...Option) Service {
	made := &service{opts: Options{Context: context.Background(), Signal: true}}
	for _, opt := range opts {
		opt(&made.opts)
	}
	made.build()
	return made
}

func (s *service) build() {
	// It is asked at the start, for the document of its client is part of the service's.
	made := client.Options{Context: s.opts.Context}
	for _, opt := range s.opts.clients {
		opt(&made)
	}
	s.client, s.slot = client.NewOfService(made)
	s.server = server.New(func() map[string]any {
		told := s.slot.Options()
		fields := map[string]any{}
		for key, value := range told.Fields() {
			// They are the service's.
			if key != "registry" && key != "broker" && key != "network" && key != "environment" {
				fields[key] = value
			}
		}
		return fields
	}, append([]server.Option{withContext(s.opts.Context)}, s.opts.servers...)...)
}

func withContext(ctx context.Context) server.Option {
	return func(o *server.Options) { o.Context = ctx }
}

func (s *service) Name() string          { return s.server.Options().Name }
func (s *service) String() string        { return "micro" }
func (s *service) Options() Options      { return s.opts }
func (s *service) Client() client.Client { return s.client }
func (s *service) Server() server.Server { return s.server }

func (s *service) Init(opts ...Option) {
	before := s.opts
	s.opts.clients, s.opts.servers = nil, nil
	for _, opt := range opts {
		opt(&s.opts)
	}
	clients, servers := s.opts.clients, s.opts.servers
	s.opts.clients, s.opts.servers = append(before.clients, clients...), append(before.servers, servers...)
	if len(clients) > 0 {
		s.client = s.slot.Apply(clients...)
	}
	if err := s.server.Init(append([]server.Option{withContext(s.opts.Context)}, servers...)...); err != nil {
		slog.Error("the options of a service come too late", "service", s.Name(), "error", err)
	}
}

func (s *service) Start() error {
	for _, hook := range s.opts.BeforeStart {
		if err := hook(); err != nil {
			return err
		}
	}
	if err := s.server.Start(); err != nil {
		return err
	}
	running := s.server.Running()
	lent, failure := running.Client()
	if failure != nil {
		_ = s.server.Stop()
		return errors.FromNative(failure, nil)
	}
	s.slot.Lend(lent)
	s.lock.Lock()
	s.stopping, s.stopped = false, make(chan struct{})
	stopped := s.stopped
	s.lock.Unlock()
	go func() {
		<-running.Over()
		s.slot.Lend(nil)
		lent.Close()
		close(stopped)
	}()
	for _, hook := range s.opts.AfterStart {
		if err := hook(); err != nil {
			_ = s.Stop()
			return err
		}
	}
	return nil
}

func (s *service) Stop() error {
	s.lock.Lock()
	first, stopped := !s.stopping, s.stopped
	s.stopping = true
	s.lock.Unlock()
	if stopped == nil {
		return nil
	}
	if !first {
		<-stopped
		return nil
	}
	var last error
	for _, hook := range s.opts.BeforeStop {
		if err := hook(); err != nil {
			last = err
		}
	}
	if running := s.server.Running(); running != nil {
		running.Stop()
	}
	<-stopped
	if err := s.server.Forget(); err != nil {
		return err
	}
	for _, hook := range s.opts.AfterStop {
		if err := hook(); err != nil {
			last = err
		}
	}
	return last
}

func (s *service) Close() error {
	err := s.Stop()
	if wrong := s.client.Close(); err == nil {
		err = wrong
	}
	return err
}

func (s *service) Run() error {
	told := make(chan os.Signal, 2)
	if s.opts.Signal {
		// From before the start, so that one which comes meanwhile is not lost.
		signal.Notify(told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
		defer signal.Stop(told)
	}
	if err := s.Start(); err != nil {
		return printed(err)
	}
	running := s.server.Running()
	if running == nil {
		return nil
	}
	select {
	case <-told:
	case <-s.opts.Context.Done():
	case <-running.Over():
	}
	done := make(chan error, 1)
	go func() { done <- s.Stop() }()
	select {
	case err := <-done:
		return err
	case <-told:
		running.Abort()
	}
	return <-done
}

// printed prints what --help and --version ask for; what else went wrong it gives back.
func printed(err error) error {
	var said *errors.Error
	if errors.As(err, &said) && said.Kind == errors.CodeCanceled && said.Endpoint == "" && !errors.Is(err, errors.ErrClosed) {
		fmt.Println(strings.TrimRight(said.Detail, "\n"))
		return nil
	}
	return err
}

// Setting is a setting of a service: its value, and what set it.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	// Source is what set it, for people.
	Source string `json:"source"`
	// Kind is "default", "code", "document", "variable" or "flag".
	Kind string `json:"kind"`
}

func (s *service) Explain() (settings []Setting, err error) {
	said, err := s.server.Explain()
	if err != nil {
		return nil, err
	}
	return settings, json.Unmarshal(said, &settings)
}

func (s *service) Record() *registry.Service { return s.server.Record() }

func (s *service) Address() string {
	if record := s.Record(); record != nil && len(record.Nodes) > 0 {
		return record.Nodes[0].Address
	}
	return ""
}

func (s *service) SetHealth(serving bool) error {
	record := s.Record()
	if record == nil {
		return server.NotRunning(s.Name())
	}
	// Its operator may have given it another name.
	return s.server.SetHealth(record.Name, serving)
}

func (s *service) Stats(ctx context.Context) ([]byte, error) {
	return s.ask(ctx, native.ServiceStats)
}

func (s *service) Jobs(ctx context.Context) ([]server.JobStatus, error) {
	told, err := s.ask(ctx, native.ServiceJobs)
	if err != nil {
		return nil, err
	}
	return server.Statuses(told)
}

// ask asks what the service knows of itself.
func (s *service) ask(ctx context.Context, operation uint32) ([]byte, error) {
	running := s.server.Running()
	if running == nil {
		return nil, server.NotRunning(s.Name())
	}
	asking, failure := running.Client()
	if failure != nil {
		return nil, errors.FromNative(failure, nil)
	}
	defer asking.Close()
	return client.Ask(ctx, asking, operation)
}

// LibraryVersion is that of the library which is loaded, such as "0.1.0".
func LibraryVersion() string { return native.Version() }

// Check says in one sentence whether the library that is loaded is one that this program can use; nil where it is. What needs the
// library asks by itself.
func Check() error {
	if err := native.Check(); err != nil {
		if failure, ok := err.(*native.Error); ok {
			return errors.FromNative(failure, nil)
		}
		return err
	}
	return nil
}

// Codec makes bytes of messages and messages of bytes, for a content type of the program's own.
type Codec = codec.Codec

// RegisterCodec adds a content type of the program's own: for "msgpack", calls are made with client.WithContentType("msgpack"), and
// taken as "application/grpc+msgpack", and by Connect's "application/msgpack". A process may have 12 of them.
func RegisterCodec(name string, added Codec) error { return codec.Register(name, added) }

// NewClient makes a client of its own. It is opened by its first call, and lives until it is closed.
func NewClient(opts ...client.Option) client.Client { return client.NewClient(opts...) }
