package microtest

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/registry"
)

// Registry is one in plain Go, in memory: what a program would write over a database of its own, for micro.Provide. Nodes that are
// not registered again in time are gone, and watchers hear of it.
type Registry struct {
	lock     sync.Mutex
	records  map[version]*registry.Service
	expiries map[node]*time.Timer
	watchers map[*watcher]bool
}

type version struct{ name, version string }

type node struct {
	version
	id string
}

// NewRegistry makes an empty one.
func NewRegistry() *Registry {
	return &Registry{records: map[version]*registry.Service{}, expiries: map[node]*time.Timer{}, watchers: map[*watcher]bool{}}
}

// Register adds the nodes of a record, or refreshes those that are known.
func (r *Registry) Register(_ context.Context, service *registry.Service, ttl time.Duration) error {
	if len(service.Nodes) == 0 || slices.ContainsFunc(service.Nodes, func(one *registry.Node) bool { return one.Id == "" }) {
		return errors.Newf(errors.CodeInvalidArgument, "microtest", "service %s: every registration needs a node with an id", service.Name)
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	of := version{service.Name, service.Version}
	known := r.records[of]
	if known == nil {
		known = with(service, nil)
	}
	before := map[string]*registry.Node{}
	for _, one := range known.Nodes {
		before[one.Id] = one
	}
	after := maps.Clone(before)
	var added, changed []*registry.Node
	for _, one := range service.Nodes {
		after[one.Id] = one
		if before[one.Id] == nil {
			added = append(added, one)
		}
		r.expire(of, one, service, ttl)
	}
	// What describes a version describes each of its nodes.
	described := reflect.DeepEqual(known.Endpoints, service.Endpoints) && reflect.DeepEqual(known.Metadata, service.Metadata)
	nodes := slices.SortedFunc(maps.Values(after), func(a, b *registry.Node) int { return cmp.Compare(a.Id, b.Id) })
	for _, one := range nodes {
		if was := before[one.Id]; was != nil && (!described || !reflect.DeepEqual(was, one)) {
			changed = append(changed, one)
		}
	}
	r.records[of] = with(service, nodes)
	r.tell("create", with(service, added))
	r.tell("update", with(service, changed))
	return nil
}

func (r *Registry) expire(of version, one *registry.Node, service *registry.Service, ttl time.Duration) {
	key := node{of, one.Id}
	if timer := r.expiries[key]; timer != nil {
		timer.Stop()
		delete(r.expiries, key)
	}
	if ttl <= 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(ttl, func() {
		r.lock.Lock()
		defer r.lock.Unlock()
		if r.expiries[key] == timer {
			r.remove(with(service, []*registry.Node{one}))
		}
	})
	r.expiries[key] = timer
}

// Deregister removes the nodes of a record.
func (r *Registry) Deregister(_ context.Context, service *registry.Service) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.remove(service)
	return nil
}

func (r *Registry) remove(service *registry.Service) {
	of := version{service.Name, service.Version}
	known := r.records[of]
	if known == nil {
		return
	}
	var left, gone []*registry.Node
	for _, one := range known.Nodes {
		if !slices.ContainsFunc(service.Nodes, func(other *registry.Node) bool { return other.Id == one.Id }) {
			left = append(left, one)
			continue
		}
		gone = append(gone, one)
		if timer := r.expiries[node{of, one.Id}]; timer != nil {
			timer.Stop()
			delete(r.expiries, node{of, one.Id})
		}
	}
	if len(left) > 0 {
		r.records[of] = with(known, left)
	} else {
		delete(r.records, of)
	}
	r.tell("delete", with(known, gone))
}

// GetService is every version of a service with its live nodes.
func (r *Registry) GetService(ctx context.Context, name string) ([]*registry.Service, error) {
	all, err := r.ListServices(ctx)
	return slices.DeleteFunc(all, func(one *registry.Service) bool { return one.Name != name }), err
}

// ListServices is every service, by name, then version.
func (r *Registry) ListServices(context.Context) ([]*registry.Service, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return slices.SortedFunc(maps.Values(r.records), func(a, b *registry.Service) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	}), nil
}

// Watch tells changes from when it returns.
func (r *Registry) Watch(_ context.Context, name string) (registry.Watcher, error) {
	made := &watcher{registry: r, name: name, more: make(chan struct{}, 1)}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.watchers[made] = true
	return made, nil
}

// tell is with the lock held.
func (r *Registry) tell(action string, service *registry.Service) {
	for one := range r.watchers {
		if len(service.Nodes) > 0 && (one.name == "" || one.name == service.Name) {
			one.changes = append(one.changes, &registry.Result{Action: action, Service: service})
			select {
			case one.more <- struct{}{}:
			default:
			}
		}
	}
}

func with(service *registry.Service, nodes []*registry.Node) *registry.Service {
	made := *service
	made.Nodes = nodes
	return &made
}

// watcher has its changes under the lock of its registry.
type watcher struct {
	registry *Registry
	name     string
	changes  []*registry.Result
	more     chan struct{}
}

func (w *watcher) Next(ctx context.Context) (*registry.Result, error) {
	for {
		w.registry.lock.Lock()
		if len(w.changes) > 0 {
			next := w.changes[0]
			w.changes = w.changes[1:]
			w.registry.lock.Unlock()
			return next, nil
		}
		w.registry.lock.Unlock()
		select {
		case <-w.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *watcher) Stop() {
	w.registry.lock.Lock()
	defer w.registry.lock.Unlock()
	delete(w.registry.watchers, w)
}
