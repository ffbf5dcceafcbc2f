package codec

import (
	"encoding/base64"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Descriptors is a serialized FileDescriptorSet in base64, of files and all they import.
func Descriptors(files ...protoreflect.FileDescriptor) string {
	var set descriptorpb.FileDescriptorSet
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if file == nil || file.IsPlaceholder() || seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		imports := file.Imports()
		for at := range imports.Len() {
			add(imports.Get(at).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	for _, file := range files {
		add(file)
	}
	raw, err := proto.Marshal(&set)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}
