// SPDX-License-Identifier: Apache-2.0
// What of XML becomes what of JSON, and what is refused.
#include "agent/providers/xml_tree.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace keyturn::providers {
namespace {

std::string Read(const std::string& text) {
  const auto tree = ParseXml(text);
  return tree == nullptr ? "refused" : tree->dump();
}

TEST(XmlTree, ElementsBecomeMembers) {
  EXPECT_EQ(Read("<a>x</a>"), R"({"a":"x"})");
  EXPECT_EQ(Read("<?xml version='1.0'?><!-- c --><a b='c'><d>1</d><e/></a>"),
            R"({"a":{"d":"1","e":""}})");
  EXPECT_EQ(Read("<a><m>1</m><n>2</n><m>3</m><m>4</m></a>"),
            R"({"a":{"m":["1","3","4"],"n":"2"}})");
  EXPECT_EQ(Read("<p:a xmlns:p='urn:x'><p:b>1</p:b></p:a>"), R"({"a":{"b":"1"}})");
  EXPECT_EQ(Read("<a>&lt;&amp;&#65;</a>"), R"({"a":"<&A"})");
}

TEST(XmlTree, TextGoesOnAfterCommentsAndCdata) {
  EXPECT_EQ(Read("<a>key-<!-- of 2026 -->1234</a>"), R"({"a":"key-1234"})");
  EXPECT_EQ(Read("<a>&lt;<![CDATA[<b>]]>c<?p?>d</a>"), R"({"a":"<<b>cd"})");
  EXPECT_EQ(Read("<a> <![CDATA[b]]> </a>"), R"({"a":"b"})");
  EXPECT_EQ(Read("<a> </a>"), R"({"a":" "})");
}

TEST(XmlTree, RefusesWhatIsNoXmlOrNotForUs) {
  EXPECT_EQ(Read(""), "refused");
  EXPECT_EQ(Read("{}"), "refused");
  EXPECT_EQ(Read("<a><b></a>"), "refused");
  EXPECT_EQ(Read("<a/><b/>"), "refused");
  EXPECT_EQ(Read("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"), "refused");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_EQ(Read(deep), "refused");
  std::string closed = "x";
  for (int i = 0; i < 33; ++i) closed = "<a>" + closed + "</a>";
  EXPECT_EQ(Read(closed), "refused");
}

}  // namespace
}  // namespace keyturn::providers
