// Package selector is how a node is chosen: by a strategy, among those that filters allow. The core does it; this names it.
package selector

// Strategy is how a node is chosen.
type Strategy string

// The strategies.
const (
	// P2C takes the less busy of two, by latency and calls under way; the default.
	P2C Strategy = "p2c"
	// Random takes any.
	Random Strategy = "random"
	// RoundRobin takes them in turn.
	RoundRobin Strategy = "round_robin"
	// Hash takes the same one for calls with the same key.
	Hash Strategy = "hash"
)

// Filter is a condition that a node must meet.
type Filter map[string]any

// FilterVersion allows nodes of a version.
func FilterVersion(version string) Filter { return Filter{"version": version} }

// FilterLabel allows nodes with a label in their metadata.
func FilterLabel(key, value string) Filter { return Filter{"label": []string{key, value}} }

// FilterEndpoint allows nodes that have an endpoint.
func FilterEndpoint(name string) Filter { return Filter{"endpoint": name} }

// SelectOptions are a strategy, empty for the client's own, and filters.
type SelectOptions struct {
	Strategy Strategy
	Filters  []Filter
}

// SelectOption sets one of them, for client.WithSelectOption.
type SelectOption func(*SelectOptions)

// WithStrategy chooses by a strategy.
func WithStrategy(strategy Strategy) SelectOption {
	return func(o *SelectOptions) { o.Strategy = strategy }
}

// WithFilter allows only nodes that meet all conditions.
func WithFilter(filters ...Filter) SelectOption {
	return func(o *SelectOptions) { o.Filters = append(o.Filters, filters...) }
}
