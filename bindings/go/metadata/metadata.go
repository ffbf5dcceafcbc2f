// Package metadata is what goes along with a call: headers of the request, and headers and trailers of the answer.
package metadata

import (
	"context"
	"maps"
	"strings"

	"github.com/micro/micro/bindings/go/internal/native"
)

// Metadata is go-micro's: one value a name, several joined by ", ".
type Metadata map[string]string

// MD has every value, under names in lower case. Values under names that end in "-bin" are bytes as they are.
type MD map[string][]string

// Pairs makes metadata of names and values in turn. A name may come several times.
func Pairs(pairs ...string) MD {
	made := MD{}
	for at := 0; at+1 < len(pairs); at += 2 {
		made.Append(pairs[at], pairs[at+1])
	}
	return made
}

// Append adds values under a name.
func (md MD) Append(name string, values ...string) {
	name = strings.ToLower(name)
	md[name] = append(md[name], values...)
}

// Set replaces the values under a name.
func (md MD) Set(name string, values ...string) { md[strings.ToLower(name)] = values }

// Get is the first value under a name, or empty.
func (md MD) Get(name string) string {
	if values := md.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values are all values under a name.
func (md MD) Values(name string) []string { return md[strings.ToLower(name)] }

// Copy is one of its own.
func (md MD) Copy() MD {
	made := make(MD, len(md))
	for name, values := range md {
		made[name] = append([]string(nil), values...)
	}
	return made
}

// FromEntries and Entries are for the packages of this module.
func FromEntries(entries []native.Entry) MD {
	made := make(MD, len(entries))
	for _, one := range entries {
		made[one.Name] = append(made[one.Name], one.Value)
	}
	return made
}

// Entries are its names and values.
func (md MD) Entries() []native.Entry {
	made := make([]native.Entry, 0, len(md))
	for name, values := range md {
		for _, value := range values {
			made = append(made, native.Entry{Name: strings.ToLower(name), Value: value})
		}
	}
	return made
}

type incomingKey struct{}
type outgoingKey struct{}
type addedKey struct{}

// incoming is read when it is asked for.
type incoming interface{ Incoming() MD }

// WithIncoming is for the packages of this module: what came with the call that is served.
func WithIncoming(ctx context.Context, from interface{ Incoming() MD }) context.Context {
	return context.WithValue(ctx, incomingKey{}, from)
}

// IncomingKey is for the packages of this module: a context of theirs answers it with a value that has a method Incoming.
var IncomingKey any = incomingKey{}

// FromIncoming is what came with the call that is served, every value of it; false where none is.
func FromIncoming(ctx context.Context) (MD, bool) {
	if from, ok := ctx.Value(incomingKey{}).(incoming); ok {
		return from.Incoming(), true
	}
	return nil, false
}

// Append adds names and values in turn to what calls made with the context send.
func Append(ctx context.Context, pairs ...string) context.Context {
	before, _ := ctx.Value(addedKey{}).(MD)
	made := before.Copy()
	for at := 0; at+1 < len(pairs); at += 2 {
		made.Append(pairs[at], pairs[at+1])
	}
	return context.WithValue(ctx, addedKey{}, made)
}

// NewContext replaces what the context says, as in go-micro: what FromContext reads, and what calls made with it send.
//
// Of what came with the call that is served, only what differs is sent as it is here: the rest goes on by the rules for
// that (`forward`), and so does all of it where the context says nothing.
func NewContext(ctx context.Context, md Metadata) context.Context {
	return context.WithValue(ctx, outgoingKey{}, md)
}

// FromContext is what NewContext has put there, else what came with the call that is served. It is a copy, with names as
// go-micro spells them: Like-This.
func FromContext(ctx context.Context) (Metadata, bool) {
	if md, ok := ctx.Value(outgoingKey{}).(Metadata); ok {
		made := make(Metadata, len(md))
		for name, value := range md {
			made[title(name)] = value
		}
		return made, true
	}
	md, ok := FromIncoming(ctx)
	if !ok {
		return nil, false
	}
	made := make(Metadata, len(md))
	for name, values := range md {
		made[title(name)] = strings.Join(values, ", ")
	}
	return made, true
}

// title spells a name as go-micro does.
func title(name string) string {
	out := []byte(name)
	begins := true
	for at, letter := range out {
		if begins && 'a' <= letter && letter <= 'z' {
			out[at] = letter - 'a' + 'A'
		}
		begins = letter == '-' || letter == ' '
	}
	return string(out)
}

// Get is a value by its name, in either spelling.
func (md Metadata) Get(name string) (string, bool) {
	if value, ok := md[name]; ok {
		return value, true
	}
	value, ok := md[title(name)]
	return value, ok
}

// Set puts a value under a name.
func (md Metadata) Set(name, value string) { md[name] = value }

// Delete removes a name, in either spelling.
func (md Metadata) Delete(name string) {
	delete(md, name)
	delete(md, title(name))
}

// Copy is one of its own.
func Copy(md Metadata) Metadata { return maps.Clone(md) }

// Get is a value of the context.
func Get(ctx context.Context, name string) (string, bool) {
	md, ok := FromContext(ctx)
	if !ok {
		return "", false
	}
	return md.Get(title(name))
}

// Set puts a value into the context; an empty one removes the name.
func Set(ctx context.Context, name, value string) context.Context {
	md, ok := FromContext(ctx)
	if !ok {
		md = Metadata{}
	}
	if value == "" {
		md.Delete(name)
	} else {
		md[title(name)] = value
	}
	return NewContext(ctx, md)
}

// Delete removes a name from the context.
func Delete(ctx context.Context, name string) context.Context { return Set(ctx, name, "") }

// MergeContext adds to what the context says; what is there already stays, unless `overwrite`.
func MergeContext(ctx context.Context, patch Metadata, overwrite bool) context.Context {
	md, ok := FromContext(ctx)
	if !ok {
		md = Metadata{}
	}
	for name, value := range patch {
		if _, known := md.Get(name); known && !overwrite {
			continue
		}
		if value == "" {
			md.Delete(name)
		} else {
			md[title(name)] = value
		}
	}
	return NewContext(ctx, md)
}

// Outgoing is what a call made with the context sends, beside what goes on by itself.
func Outgoing(ctx context.Context) MD {
	given, _ := ctx.Value(outgoingKey{}).(Metadata)
	added, _ := ctx.Value(addedKey{}).(MD)
	if given == nil && added == nil {
		return nil
	}
	made := added.Copy()
	if len(given) == 0 {
		return made
	}
	came, _ := FromIncoming(ctx)
	for name, value := range given {
		lower := strings.ToLower(name)
		if before, ok := came[lower]; ok && strings.Join(before, ", ") == value {
			continue
		}
		if _, ok := made[lower]; !ok {
			made[lower] = []string{value}
		}
	}
	return made
}
