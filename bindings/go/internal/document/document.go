// Package document is options as the JSON documents that the core reads.
package document

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Document is keys with their values. What is wrong with one is told when it is used.
type Document struct {
	fields map[string]any
	err    error
}

// Set gives a key a value; later ones win. A key with dots is within objects.
func (d *Document) Set(key string, value any) {
	if d.fields == nil {
		d.fields = map[string]any{}
	}
	at := d.fields
	for {
		first, rest, dotted := strings.Cut(key, ".")
		if !dotted {
			break
		}
		within, ok := at[first].(map[string]any)
		if !ok {
			within = map[string]any{}
		}
		within = maps.Clone(within)
		at[first] = within
		at, key = within, rest
	}
	at[key] = value
}

// Duration gives a key a duration.
func (d *Document) Duration(key string, value time.Duration) {
	d.Set(key, fmt.Sprintf("%.9fs", value.Seconds()))
}

// Get is the value of a key, if it has one.
func (d *Document) Get(key string) (any, bool) {
	value, ok := d.fields[key]
	return value, ok
}

// Delete takes a key away.
func (d *Document) Delete(key string) { delete(d.fields, key) }

// Read adds the keys of a JSON object.
func (d *Document) Read(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		d.err = fmt.Errorf("the document is no JSON object: %w", err)
		return
	}
	for key, value := range fields {
		if d.fields == nil {
			d.fields = map[string]any{}
		}
		d.fields[key] = value
	}
}

// Copy is one of its own.
func (d *Document) Copy() Document { return Document{maps.Clone(d.fields), d.err} }

// Empty says whether there is nothing in it.
func (d *Document) Empty() bool { return len(d.fields) == 0 && d.err == nil }

// Fields are its keys, for another document.
func (d *Document) Fields() map[string]any { return d.fields }

// JSON is its text; nothing where it is empty.
func (d *Document) JSON() ([]byte, error) {
	if d.err != nil || len(d.fields) == 0 {
		return nil, d.err
	}
	return json.Marshal(d.fields)
}

// PEM is what a document takes for a certificate or a key: a PEM text as it is, the name of a file, or nothing.
func PEM(given string) any {
	switch {
	case given == "":
		return nil
	case given == "system" || strings.HasPrefix(strings.TrimSpace(given), "-----BEGIN"):
		return given
	}
	return map[string]any{"file": given}
}
