package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/micro/go-micro/v2/registry"
)

// addRegistry offers go-micro's own view of discovery, past the client's cache.
func addRegistry(l *lines, r registry.Registry) {
	type ask struct {
		Service   string           `json:"service"`
		Record    registry.Service `json:"record"`
		Watcher   string           `json:"watcher"`
		TimeoutMs int64            `json:"timeoutMs"`
	}
	on := func(op string, run func(*ask) (interface{}, error)) {
		l.on(op, func(r *request) (interface{}, error) {
			a := new(ask)
			if err := r.into(a); err != nil {
				return nil, err
			}
			return run(a)
		})
	}

	on("list", func(*ask) (interface{}, error) {
		services, err := r.ListServices()
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, service := range services {
			names = append(names, service.Name)
		}
		return map[string]interface{}{"names": names}, nil
	})
	on("get", func(a *ask) (interface{}, error) {
		services, err := r.GetService(a.Service)
		if err != nil {
			return map[string]interface{}{"services": nil, "error": err.Error()}, nil
		}
		return map[string]interface{}{"services": services}, nil
	})
	on("register", func(a *ask) (interface{}, error) {
		return map[string]interface{}{}, r.Register(&a.Record)
	})
	on("deregister", func(a *ask) (interface{}, error) {
		return map[string]interface{}{}, r.Deregister(&a.Record)
	})

	var mutex sync.Mutex
	watchers := map[string]chan *registry.Result{}
	on("watch", func(a *ask) (interface{}, error) {
		var options []registry.WatchOption
		if a.Service != "" {
			options = append(options, registry.WatchService(a.Service))
		}
		watcher, err := r.Watch(options...)
		if err != nil {
			return nil, err
		}
		results := make(chan *registry.Result, 256)
		go func() {
			defer close(results)
			for {
				result, err := watcher.Next()
				if err != nil {
					return
				}
				results <- result
			}
		}()
		mutex.Lock()
		watchers[a.Watcher] = results
		mutex.Unlock()
		return map[string]interface{}{}, nil
	})
	on("watchNext", func(a *ask) (interface{}, error) {
		mutex.Lock()
		results, ok := watchers[a.Watcher]
		mutex.Unlock()
		if !ok {
			return nil, fmt.Errorf("no watcher %q is open", a.Watcher)
		}
		wait := milliseconds(a.TimeoutMs, 5*time.Second)
		select {
		case result, ok := <-results:
			if !ok {
				return nil, fmt.Errorf("watcher %q ended", a.Watcher)
			}
			return map[string]interface{}{"action": result.Action, "service": result.Service}, nil
		case <-time.After(wait):
			return nil, fmt.Errorf("watcher %q saw nothing within %v", a.Watcher, wait)
		}
	})
}
