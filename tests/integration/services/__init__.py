# SPDX-License-Identifier: Apache-2.0
"""Local stand-ins for the services that recipes ship for, one module per service or family.

They answer over real HTTP as the service's documentation says, refuse what the real one would refuse,
and remember what no careful client would have sent (`Service.strange`).
"""
