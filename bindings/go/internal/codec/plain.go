package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
)

// plain reads JSON into a type of Go's by the rule that all languages have (docs/wire.md, "Plain types"). What a sender of the same
// type writes is read by encoding/json alone; only what that stumbles over is looked at by name.
func plain(payload []byte, into any) error {
	reader := json.NewDecoder(bytes.NewReader(payload))
	reader.DisallowUnknownFields()
	first := reader.Decode(into)
	if first == nil {
		if _, err := reader.Token(); err != io.EOF {
			return fmt.Errorf("something follows the value")
		}
		return nil
	}
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || !json.Valid(payload) {
		return first
	}
	kind := target.Type().Elem()
	walk := walker{reader: json.NewDecoder(bytes.NewReader(payload))}
	walk.reader.UseNumber()
	if err := walk.value(kind); err != nil {
		return err
	}
	made := reflect.New(kind)
	if err := json.Unmarshal(walk.out.Bytes(), made.Interface()); err != nil {
		return err
	}
	target.Elem().Set(made.Elem())
	return nil
}

// walker writes JSON again, with the names and the numbers of a type.
type walker struct {
	reader *json.Decoder
	out    bytes.Buffer
}

var (
	unmarshalers = reflect.TypeFor[json.Unmarshaler]()
	texts        = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// reads says whether values of a type read themselves.
func reads(kind reflect.Type) bool {
	pointer := reflect.PointerTo(kind)
	return pointer.Implements(unmarshalers) || pointer.Implements(texts)
}

func (w *walker) value(kind reflect.Type) error {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if reads(kind) || kind.Kind() == reflect.Interface {
		return w.raw()
	}
	token, err := w.reader.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return w.list(kind)
		}
		return w.object(kind)
	case string:
		if isWhole(kind) && isDigits(token) {
			w.out.WriteString(token)
			return nil
		}
	}
	written, err := json.Marshal(token)
	w.out.Write(written)
	return err
}

func (w *walker) raw() error {
	var value json.RawMessage
	if err := w.reader.Decode(&value); err != nil {
		return err
	}
	w.out.Write(value)
	return nil
}

func (w *walker) list(kind reflect.Type) error {
	of := reflect.TypeFor[any]()
	if kind.Kind() == reflect.Slice || kind.Kind() == reflect.Array {
		of = kind.Elem()
	}
	w.out.WriteByte('[')
	for first := true; w.reader.More(); first = false {
		if !first {
			w.out.WriteByte(',')
		}
		if err := w.value(of); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	_, err := w.reader.Token()
	return err
}

func (w *walker) object(kind reflect.Type) error {
	var fields map[string]field
	if kind.Kind() == reflect.Struct {
		fields = fieldsOf(kind)
	}
	seen := map[string]bool{}
	w.out.WriteByte('{')
	first := true
	for w.reader.More() {
		token, err := w.reader.Token()
		if err != nil {
			return err
		}
		name, of := token.(string), reflect.TypeFor[any]()
		if kind.Kind() == reflect.Map {
			of = kind.Elem()
		} else if fields != nil {
			known, ok := fields[name]
			if !ok {
				known, ok = fields[strings.ToLower(name)]
			}
			if !ok {
				// Of a sender that is newer.
				var ignored json.RawMessage
				if err := w.reader.Decode(&ignored); err != nil {
					return err
				}
				continue
			}
			if seen[known.name] {
				return fmt.Errorf("the field %s comes twice", known.name)
			}
			seen[known.name] = true
			name, of = known.name, known.kind
		}
		if !first {
			w.out.WriteByte(',')
		}
		first = false
		quoted, err := json.Marshal(name)
		if err != nil {
			return err
		}
		w.out.Write(quoted)
		w.out.WriteByte(':')
		if err := w.value(of); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	_, err := w.reader.Token()
	return err
}

// field is one of a struct, by the name that it is written under.
type field struct {
	name string
	kind reflect.Type
}

var known sync.Map

// fieldsOf is the fields of a struct by every name that they are read from: their own, protobuf's, and either in small letters.
func fieldsOf(kind reflect.Type) map[string]field {
	if found, ok := known.Load(kind); ok {
		return found.(map[string]field)
	}
	made := map[string]field{}
	for _, one := range reflect.VisibleFields(kind) {
		name, options, _ := strings.Cut(one.Tag.Get("json"), ",")
		if !one.IsExported() || name == "-" || one.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = one.Name
		}
		of := one.Type
		if strings.Contains(options, "string") {
			// It reads text by itself.
			of = reflect.TypeFor[any]()
		}
		for _, spelled := range []string{name, camel(name), strings.ToLower(name), strings.ToLower(camel(name))} {
			if _, taken := made[spelled]; !taken || spelled == name {
				made[spelled] = field{name, of}
			}
		}
	}
	known.Store(kind, made)
	return made
}

// camel is protobuf's spelling of a name in JSON.
func camel(name string) string {
	var out strings.Builder
	upper := false
	for _, letter := range name {
		switch {
		case letter == '_':
			upper = true
			continue
		case upper:
			out.WriteString(strings.ToUpper(string(letter)))
		default:
			out.WriteRune(letter)
		}
		upper = false
	}
	return out.String()
}

func isWhole(kind reflect.Type) bool {
	return kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64
}

func isDigits(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || len(digits) > 1 && digits[0] == '0' {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}
