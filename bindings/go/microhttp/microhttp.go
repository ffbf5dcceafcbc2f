// Package microhttp is calls by name in the shapes of net/http: a Transport for http.Client, and a Handler for http.Server.
package microhttp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strings"

	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
)

// MaxBytes is how large a message may be, where Transport and Handler do not say.
const MaxBytes = 4 << 20

// Transport makes requests to services by their names: http.Client{Transport: &microhttp.Transport{Client: client}}, then a POST to
// http://greeter/Greeter.Hello, or http://greeter/package.Greeter/Hello. Bodies are JSON, or protobuf where the content type says so.
//
// A failure of the service is a response: the number of the error, and Connect's JSON with code and message. What kept the call
// from every handler is one too, 503 for a service without nodes.
type Transport struct {
	Client client.Client
	// MaxBytes is how large a request may be; 0 is MaxBytes of this package.
	MaxBytes int64
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip makes one request. It fails only where there is no response to give: the body cannot be read, or the context is done.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	made := &http.Response{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Trailer: http.Header{}, Request: req}
	body, err := read(req.Body, t.MaxBytes)
	if err == nil {
		err = allowed(req.Method)
	}
	var reply []byte
	if err == nil {
		reply, err = call(req, t.Client, req.URL.Host, req.URL.Path, body, made.Header, made.Trailer)
	}
	if ended := req.Context().Err(); ended != nil && err != nil {
		return nil, ended
	}
	made.StatusCode = http.StatusOK
	if err != nil {
		made.StatusCode, reply = failure(err, made.Header)
	}
	made.Status = fmt.Sprintf("%d %s", made.StatusCode, http.StatusText(made.StatusCode))
	made.ContentLength, made.Body = int64(len(reply)), io.NopCloser(bytes.NewReader(reply))
	return made, nil
}

// Handler serves POST /SERVICE/ENDPOINT by calling that service: POST /greeter/Greeter.Hello with JSON. Put it behind what decides
// who may call: it passes every request on.
type Handler struct {
	Client client.Client
	// MaxBytes is how large a request may be; 0 is MaxBytes of this package.
	MaxBytes int64
}

var _ http.Handler = (*Handler)(nil)

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	service, endpoint, found := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	err := allowed(req.Method)
	if err == nil && (!found || service == "" || endpoint == "") {
		err = errors.Newf(errors.CodeNotFound, "micro", "the path is %s: write /SERVICE/ENDPOINT, such as /greeter/Greeter.Hello", req.URL.Path)
	}
	var body, reply []byte
	if err == nil {
		body, err = read(req.Body, h.MaxBytes)
	}
	headers, trailers := http.Header{}, http.Header{}
	if err == nil {
		reply, err = call(req, h.Client, service, "/"+endpoint, body, headers, trailers)
	}
	status := http.StatusOK
	if err != nil {
		status, reply = failure(err, headers)
	}
	maps.Copy(w.Header(), headers)
	for name := range trailers {
		w.Header().Add("Trailer", name)
	}
	w.WriteHeader(status)
	_, _ = w.Write(reply)
	maps.Copy(w.Header(), trailers)
}

func allowed(method string) error {
	if method == http.MethodPost {
		return nil
	}
	return errors.New("micro", "calls are made with POST, and not with "+method, http.StatusMethodNotAllowed)
}

func read(from io.Reader, most int64) ([]byte, error) {
	if from == nil {
		return nil, nil
	}
	if most == 0 {
		most = MaxBytes
	}
	body, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, errors.Newf(errors.CodeInvalidArgument, "micro", "the body cannot be read: %s", err)
	}
	if int64(len(body)) > most {
		return nil, errors.New("micro", fmt.Sprintf("the body has more than %d bytes", most), http.StatusRequestEntityTooLarge)
	}
	return body, nil
}

// call makes the call of a request, and puts what came along into headers and trailers.
func call(req *http.Request, c client.Client, service, path string, body []byte, headers, trailers http.Header) ([]byte, error) {
	kind := "application/json"
	if given := req.Header.Get("Content-Type"); given != "" {
		parsed, _, err := mime.ParseMediaType(given)
		if err != nil {
			return nil, errors.Newf(errors.CodeInvalidArgument, "micro", "the content type is %q: %s", given, err)
		}
		kind = parsed
	}
	switch kind {
	case "application/json":
		if len(body) == 0 {
			body = []byte("null")
		}
	case "application/proto", "application/protobuf", "application/x-protobuf":
		kind = "application/protobuf"
	default:
		return nil, errors.New("micro", "the content type is "+kind+": send application/json or application/protobuf", http.StatusUnsupportedMediaType)
	}
	endpoint := strings.TrimPrefix(path, "/")
	if strings.Contains(endpoint, "/") {
		endpoint = "/" + endpoint
	}
	var came, tail metadata.MD
	var reply []byte
	err := c.Call(req.Context(), c.NewRequest(service, endpoint, body, client.WithContentType(kind)), &reply,
		client.WithMetadata(sent(req.Header)), client.WithHeader(&came), client.WithTrailer(&tail))
	received(came, headers)
	received(tail, trailers)
	headers.Set("Content-Type", kind)
	return reply, err
}

// ofHop are headers of one hop, or of a body, and none of the call's.
var ofHop = map[string]bool{
	"accept": true, "accept-encoding": true, "connection": true, "content-encoding": true, "content-length": true, "content-type": true,
	"date": true, "expect": true, "host": true, "http2-settings": true, "keep-alive": true, "proxy-authenticate": true, "proxy-authorization": true, "proxy-connection": true,
	"te": true, "timeout": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "user-agent": true,
}

func passes(name string) bool {
	return !ofHop[name] && !strings.HasPrefix(name, "grpc-") && !strings.HasPrefix(name, "connect-")
}

func sent(header http.Header) metadata.MD {
	named := map[string]bool{}
	for _, value := range header.Values("Connection") {
		for _, name := range strings.Split(value, ",") {
			named[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	md := metadata.MD{}
	for name, values := range header {
		lower := strings.ToLower(name)
		// Values of such names are base64 over HTTP, and bytes here.
		if passes(lower) && !named[lower] && !strings.HasSuffix(lower, "-bin") {
			md[lower] = values
		}
	}
	return md
}

func received(md metadata.MD, into http.Header) {
	for name, values := range md {
		if passes(name) && !strings.HasSuffix(name, "-bin") {
			for _, value := range values {
				into.Add(name, value)
			}
		}
	}
}

// failure is a failure as HTTP: the number of the error, and Connect's JSON.
func failure(err error, headers http.Header) (int, []byte) {
	said := errors.FromError(err)
	number := int(said.Code)
	kind := errors.CodeFor(said)
	if said.Reason != "" || number < 400 || number > 599 {
		number = int(kind.Status())
	}
	headers.Set("Content-Type", "application/json")
	body, err := json.Marshal(map[string]string{"code": strings.Replace(strings.ToLower(kind.String()), "cancelled", "canceled", 1), "message": said.Detail})
	if err != nil {
		body = []byte(`{"code":"internal"}`)
	}
	return number, body
}
