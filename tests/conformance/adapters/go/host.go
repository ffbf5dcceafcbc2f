package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/server"
)

// host is the server's part: one service at a time. Keys outlive services.
type host struct {
	lock    sync.Mutex
	keys    map[string]*key
	service micro.Service
}

// key is what handlers under one key count, and what they wait for.
type key struct {
	lock     sync.Mutex
	counts   map[string]int
	released chan struct{}
	once     sync.Once
}

func newHost() *host { return &host{keys: map[string]*key{}} }

func (h *host) key(name string) *key {
	h.lock.Lock()
	defer h.lock.Unlock()
	known, ok := h.keys[name]
	if !ok {
		known = &key{counts: map[string]int{"calls": 0, "received": 0, "sent": 0, "cancelled": 0}, released: make(chan struct{})}
		h.keys[name] = known
	}
	return known
}

func (k *key) counted(what string) int {
	if k == nil {
		return 0
	}
	k.lock.Lock()
	defer k.lock.Unlock()
	k.counts[what]++
	return k.counts[what]
}

func (h *host) running() micro.Service {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.service
}

func (h *host) do(asked line) {
	id := field{"id", asked.get("id")}
	switch asked.verb {
	case "ping":
		tell("ok", id)
	case "release":
		known := h.key(asked.get("key"))
		known.once.Do(func() { close(known.released) })
		tell("ok", id)
	case "counts":
		known := h.key(asked.get("key"))
		known.lock.Lock()
		told := []field{id}
		for name, count := range known.counts {
			told = append(told, field{name, strconv.Itoa(count)})
		}
		known.lock.Unlock()
		tell("counts", told...)
	case "health":
		if service := h.running(); service != nil {
			if err := service.SetHealth(asked.get("serving") == "true"); err != nil {
				panic(err)
			}
		}
		tell("ok", id)
	case "start":
		go h.start(asked, id)
	case "ask":
		go h.ask(id)
	case "stop":
		go h.stop(id)
	}
}

func (h *host) start(asked line, id field) {
	service := micro.NewService(micro.Name(asked.get("service")), micro.Document(asked.get("settings")))
	for _, name := range asked.all("layer") {
		service.Init(micro.WrapHandler(ofHandlers(name)))
	}
	err := h.handle(service, asked)
	if err == nil {
		err = service.Start()
	}
	if err != nil {
		_ = service.Close()
		tell("failed", append([]field{id}, failure(err)...)...)
		return
	}
	h.lock.Lock()
	h.service = service
	h.lock.Unlock()
	tell("started", id, field{"address", service.Address()})
}

func (h *host) handle(service micro.Service, asked line) error {
	settings := func(name string) server.HandlerOption {
		return server.HandlerDocument(asked.get("endpoint." + name))
	}
	make := func(ctx context.Context, payload []byte) *turn {
		return newTurn(h, service, asked.get("tag"), ctx, payload)
	}
	do := func(ctx context.Context, request []byte) ([]byte, error) {
		one := make(ctx, request)
		return one.run(false)
	}
	for _, name := range []string{"Echo", "Do"} {
		if err := micro.Handle(service, "Conformance."+name, do, settings(name)); err != nil {
			return err
		}
	}
	if err := micro.Handle(service, "Conformance.Order", ordered, server.InternalHandler(true)); err != nil {
		return err
	}
	count := func(ctx context.Context, request []byte, stream *micro.Stream[struct{}, []byte]) error {
		one := make(ctx, request)
		one.send = stream.Send
		_, err := one.run(false)
		return err
	}
	if err := micro.HandleServerStream(service, "Conformance.Count", count, settings("Count")); err != nil {
		return err
	}
	sum := func(ctx context.Context, stream *micro.Stream[[]byte, struct{}]) ([]byte, error) {
		one := make(ctx, nil)
		one.receive = stream.Recv
		payload, err := one.run(false)
		if err == nil {
			server.SetTrailer(ctx, "received", strconv.Itoa(one.received))
		}
		return payload, err
	}
	if err := micro.HandleClientStream(service, "Conformance.Sum", sum, settings("Sum")); err != nil {
		return err
	}
	chat := func(ctx context.Context, stream *micro.Stream[[]byte, []byte]) error {
		one := make(ctx, nil)
		one.receive, one.send = stream.Recv, stream.Send
		_, err := one.run(true)
		return err
	}
	if err := micro.HandleBidiStream(service, "Conformance.Chat", chat, settings("Chat")); err != nil {
		return err
	}
	message := func(ctx context.Context, payload []byte) error {
		_, err := do(ctx, payload)
		return err
	}
	for _, one := range asked.fields {
		if topic, ok := strings.CutPrefix(one.name, "subscriber."); ok {
			if err := micro.Subscribe(service, topic, message, server.SubscriberDocument(one.value)); err != nil {
				return err
			}
		}
		if topic, ok := strings.CutPrefix(one.name, "task."); ok {
			if err := micro.HandleTask(service, topic, do, server.SubscriberDocument(one.value)); err != nil {
				return err
			}
		}
		if _, ok := strings.CutPrefix(one.name, "job."); ok {
			// The interval is in the document.
			if err := service.Server().AddJob(server.NewEvery(time.Second, ran, server.JobDocument(one.value))); err != nil {
				return err
			}
		}
	}
	return nil
}

// ran tells of each run.
func ran(ctx context.Context) error {
	run, _ := server.RunFromContext(ctx)
	tell("event", append([]field{{"name", "said"}, {"key", run.Job}}, shown([]byte(strconv.Itoa(run.Attempt)))...)...)
	return nil
}

func (h *host) ask(id field) {
	service := h.running()
	var answer []byte
	err := error(errors.Newf(errors.CodeFailedPrecondition, "", "no service runs"))
	if service != nil {
		answer, err = service.Stats(context.Background())
	}
	if err != nil {
		tell("result", append([]field{id}, failure(err)...)...)
		return
	}
	tell("result", id, field{"code", "0"}, field{"answer", string(answer)})
}

func (h *host) stop(id field) {
	h.lock.Lock()
	service := h.service
	h.service = nil
	h.lock.Unlock()
	if service != nil {
		if err := service.Close(); err != nil {
			tell("failed", append([]field{id}, failure(err)...)...)
			return
		}
	}
	tell("ok", id)
}

// order is a type as a program in Go has it.
type order struct {
	ID    int64   `json:"order_id"`
	Buyer string  `json:"buyer"`
	Parts []piece `json:"order_parts"`
}

type piece struct {
	Number int `json:"part_no"`
}

func ordered(_ context.Context, request order) (string, error) {
	var numbers []string
	for _, one := range request.Parts {
		numbers = append(numbers, strconv.Itoa(one.Number))
	}
	return fmt.Sprintf("%d %s %s", request.ID, request.Buyer, strings.Join(numbers, ",")), nil
}
