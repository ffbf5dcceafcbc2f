// Package registry is what a registry knows, and what one written in Go has to do.
package registry

import (
	"context"
	"encoding/json"
	"time"
)

// Service is one version of a service.
type Service struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Endpoints []*Endpoint       `json:"endpoints"`
	Nodes     []*Node           `json:"nodes"`
}

// Node is one running instance of a service.
type Node struct {
	Id       string            `json:"id"`
	Address  string            `json:"address"`
	Metadata map[string]string `json:"metadata"`
}

// Endpoint is what callers may know of an endpoint.
type Endpoint struct {
	Name     string            `json:"name"`
	Request  *Value            `json:"request"`
	Response *Value            `json:"response"`
	Metadata map[string]string `json:"metadata"`
}

// Value is the type of a message.
type Value struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Values []*Value `json:"values"`
}

// Result is a change of a service: "create", "update" or "delete", and the record of what it affects.
type Result struct {
	Action  string   `json:"action"`
	Service *Service `json:"service"`
}

// Health is whether a node wants calls.
type Health struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Version string `json:"version"`
	Serving bool   `json:"serving"`
	// Detail is why it could not be asked; empty where it could.
	Detail string `json:"detail,omitempty"`
}

// KnownNode is a node as a client sees it.
type KnownNode struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Version string `json:"version"`
	// InFlight is how many calls of this client are under way.
	InFlight int `json:"in_flight"`
	// Latency is that of late, in milliseconds; nil before the first answer.
	Latency *float64 `json:"latency_ms"`
	// Ejected says that calls avoid it for now, because others failed.
	Ejected bool `json:"ejected"`
}

// Registry is one written in Go: what micro.Provide takes. Its methods may be called at the same time, and end with their
// context. What they return reaches the caller as what a handler returns does.
type Registry interface {
	// Register adds the nodes of a record, or refreshes those that are known, for ttl; 0 is for ever. Changed addresses,
	// metadata or endpoints replace what was there.
	Register(ctx context.Context, service *Service, ttl time.Duration) error
	// Deregister removes the nodes of a record, and nothing else. An unknown node is no error.
	Deregister(ctx context.Context, service *Service) error
	// GetService is every version of a service with its live nodes; none, or CodeNotFound, where there is no node.
	GetService(ctx context.Context, name string) ([]*Service, error)
	// ListServices is every service, by name, then version. Nodes and endpoints may be left out.
	ListServices(ctx context.Context) ([]*Service, error)
	// Watch has every change from when it returns told, of one service, or of all where the name is empty.
	Watch(ctx context.Context, name string) (Watcher, error)
}

// Watcher tells changes, each with only the nodes it affects.
type Watcher interface {
	// Next waits for the next change, or for the context to be done.
	Next(ctx context.Context) (*Result, error)
	// Stop ends it; nothing is read any more.
	Stop()
}

// Decode reads what the core wrote. For the packages of this module.
func Decode[T any](payload []byte) (made T, err error) {
	err = json.Unmarshal(payload, &made)
	return made, err
}
