package broker

import (
	"net/url"
	"strings"
	"time"

	"github.com/micro/micro/bindings/go/errors"
)

// CloudEvent is what a message says of itself as an event of CloudEvents 1.0, in headers such as "ce-id" and "ce-type".
type CloudEvent struct {
	// Id tells it from the others of its source: the id of the message unless set, and a random one where that has none.
	Id string
	// Source is where it happened, as a reference to it, such as "/shop" or "https://example.com/shop".
	Source string
	// Type is what happened, such as "com.example.order.placed".
	Type string
	// Subject is what it happened to, within its source; empty where it says nothing.
	Subject string
	// Time is when it happened: now, unless set.
	Time time.Time
	// Attributes are all others, such as "dataschema", by their names of 1 to 20 lower-case letters and digits.
	Attributes map[string]string
}

// Document is for the packages of this module: what the core reads.
func (e CloudEvent) Document() map[string]any {
	made := map[string]any{"source": e.Source, "type": e.Type}
	if e.Id != "" {
		made["id"] = e.Id
	}
	if e.Subject != "" {
		made["subject"] = e.Subject
	}
	if !e.Time.IsZero() {
		made["time"] = max(0, e.Time.UnixMilli())
	}
	if len(e.Attributes) > 0 {
		made["attributes"] = e.Attributes
	}
	return made
}

// CloudEvent is what the message says of itself as an event of CloudEvents 1.0; nil where it is none. CodeInvalidArgument for one that
// is not as it should be.
func (m *Message) CloudEvent() (*CloudEvent, error) {
	wrong := func(format string, args ...any) (*CloudEvent, error) {
		return nil, errors.Newf(errors.CodeInvalidArgument, "micro", "a message of "+m.Topic+" is no CloudEvent: "+format, args...)
	}
	attributes := map[string]string{}
	for name := range m.Header {
		if attribute, found := strings.CutPrefix(name, "ce-"); found {
			value, err := url.PathUnescape(m.Header.Get(name))
			if err != nil {
				return wrong("its header %s: %s", name, err)
			}
			attributes[attribute] = value
		}
	}
	take := func(name string) string {
		value := attributes[name]
		delete(attributes, name)
		return value
	}
	version := take("specversion")
	switch {
	case version == "":
		return nil, nil
	case !strings.HasPrefix(version, "1."):
		return wrong("it is of version %s, and not of 1.0", version)
	}
	made := &CloudEvent{Id: take("id"), Source: take("source"), Type: take("type"), Subject: take("subject")}
	for _, needed := range [][2]string{{"ce-id", made.Id}, {"ce-source", made.Source}, {"ce-type", made.Type}} {
		if needed[1] == "" {
			return wrong("it has no header %s", needed[0])
		}
	}
	if said := take("time"); said != "" {
		at, err := time.Parse(time.RFC3339Nano, said)
		if err != nil {
			return wrong("its time %s is none of RFC 3339", said)
		}
		made.Time = at
	}
	if len(attributes) > 0 {
		made.Attributes = attributes
	}
	return made, nil
}
