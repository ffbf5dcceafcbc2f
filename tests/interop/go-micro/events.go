package main

import (
	"fmt"
	"sync"
	"time"
)

// event is something a handler saw, kept for the test to ask about: a caller that gave up cannot be told any more.
type event map[string]interface{}

const keptEvents = 4096

type events struct {
	sync.Mutex
	kept    []event
	changed chan struct{}
}

func newEvents() *events {
	return &events{changed: make(chan struct{})}
}

func (e *events) add(kind string, facts event) {
	e.Lock()
	defer e.Unlock()
	facts["kind"] = kind
	if len(e.kept) < keptEvents {
		e.kept = append(e.kept, facts)
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// next takes the oldest event of a kind, waiting for one to happen.
func (e *events) next(kind string, wait time.Duration) (event, error) {
	timeout := time.After(wait)
	for {
		e.Lock()
		for i, seen := range e.kept {
			if seen["kind"] == kind {
				e.kept = append(e.kept[:i], e.kept[i+1:]...)
				e.Unlock()
				return seen, nil
			}
		}
		changed := e.changed
		e.Unlock()
		select {
		case <-changed:
		case <-timeout:
			return nil, fmt.Errorf("no %q event within %v", kind, wait)
		}
	}
}

// take takes all events of a kind that have happened.
func (e *events) take(kind string) []event {
	e.Lock()
	defer e.Unlock()
	taken, kept := []event{}, []event{}
	for _, seen := range e.kept {
		if seen["kind"] == kind {
			taken = append(taken, seen)
		} else {
			kept = append(kept, seen)
		}
	}
	e.kept = kept
	return taken
}

// addTo offers `{"op":"next","kind":"call","timeoutMs":5000}`, and `{"op":"take","kind":"message"}` for all there are.
func (e *events) addTo(l *lines) {
	l.on("take", func(r *request) (interface{}, error) {
		var ask struct {
			Kind string `json:"kind"`
		}
		if err := r.into(&ask); err != nil {
			return nil, err
		}
		return e.take(ask.Kind), nil
	})
	l.on("next", func(r *request) (interface{}, error) {
		var ask struct {
			Kind      string `json:"kind"`
			TimeoutMs int64  `json:"timeoutMs"`
		}
		if err := r.into(&ask); err != nil {
			return nil, err
		}
		return e.next(ask.Kind, milliseconds(ask.TimeoutMs, 5*time.Second))
	})
}
